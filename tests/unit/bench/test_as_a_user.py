"""Publicly reported faults of servers, as a person who runs `mtp bench` meets them: on a clock that jumps."""

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from typer.testing import Result

from tests.unit.bench.stepping_engine import SteppingEngine, bench


def told(done: Result) -> dict[str, Any]:
    """The result as JSON."""
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def measured(engine: SteppingEngine, *arguments: str) -> dict[str, Any]:
    """What `mtp bench` says of this server."""
    done = bench(engine, "--output-tokens", "64", "--seconds", "60", "--output", "json", *arguments)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return told(done)


OF_THE_MACHINE = {"MachineBusy", "ClientBusy"}


def warnings(result: dict[str, Any]) -> dict[str, str]:
    """Reason -> message of what is said of the server; how busy this machine was is not the server's fault."""
    return {one["reason"]: one["message"] for one in result.get("warnings", ()) if one["reason"] not in OF_THE_MACHINE}


def test_a_server_without_a_fault_gets_no_warning() -> None:
    result = measured(SteppingEngine(n_spec=3, accepted=lambda _: 2))

    assert "failure" not in result
    assert warnings(result) == {}
    assert result["levels"][0]["acceptedPerPosition"][:2] == [result["levels"][0]["drafts"]] * 2


def failing(*scrapes: int) -> Any:
    """These scrapes fail, and no other."""
    return lambda number, text: web.Response(status=503) if number in scrapes else web.Response(text=text)


@pytest.mark.parametrize("which", [(0,), (1,), (0, 1), (6,), (20,)])
def test_a_scrape_that_fails_is_repeated(which: tuple[int, ...]) -> None:
    engine = SteppingEngine(n_spec=3, accepted=lambda _: 2, scrape=failing(*which))

    result = measured(engine, "--concurrency", "1", "--concurrency", "2", "--n-spec", "3")

    assert "failure" not in result
    assert "doubt" not in result
    assert warnings(result) == {}
    assert [level["drafts"] > 0 for level in result["levels"]] == [True, True]


def test_counters_that_cannot_be_read_are_not_taken_for_none() -> None:
    engine = SteppingEngine(n_spec=3, accepted=lambda _: 2, scrape=lambda _, __: web.Response(status=503))

    result = measured(engine, "--n-spec", "3")

    assert "/metrics answers HTTP 503" in result["doubt"]["message"]
    assert list(warnings(result)) == ["MetricsUnreadable"]
    assert "drafts" not in result["levels"][0]


def test_counters_of_another_form_are_named() -> None:
    engine = SteppingEngine(
        n_spec=3, accepted=lambda _: 2, scrape=lambda _, text: web.Response(text=text.replace("position=", "pos="))
    )

    assert "has no position in its label position" in warnings(measured(engine, "--n-spec", "3"))["MetricsUnreadable"]


def test_a_list_sent_to_two_servers_behind_one_address(tmp_path: Path) -> None:
    requests = tmp_path / "requests.jsonl"
    requests.write_text('{"prompt": "one", "output_tokens": 32}\n')
    name = "vllm:generation_tokens_total"
    engine = SteppingEngine(scrape=lambda number, _: web.Response(text=f"{name} {3 if number else 30000}\n"))

    done = bench(engine, "--requests", str(requests))

    assert done.exit_code == 1
    assert done.stderr == (
        "the engine's counters went backwards (30000 tokens and 0 drafts, then 3 tokens and 0 drafts): it was "
        "restarted, or a load balancer spreads requests over several servers\n"
    )


def test_a_server_that_hangs_is_told_from_one_that_is_slow() -> None:
    done = bench(SteppingEngine(hangs=lambda number: number > 10), "--output-tokens", "64", "--concurrency", "4")

    assert done.exit_code == 1
    assert "with 4 of 4 requests in flight, after" in done.stderr
    assert "although /health answers 200: the engine hangs; see its log" in done.stderr
    assert "outputTokens" not in done.stderr


def test_a_server_that_loses_one_request() -> None:
    done = bench(SteppingEngine(hangs=lambda number: number == 10), "--output-tokens", "64", "--concurrency", "4")

    assert done.exit_code == 1
    assert "1 of the last 4 requests at concurrency 4 got no complete answer" in done.stderr


def test_a_slow_server_gets_the_time_that_it_needs() -> None:
    result = measured(SteppingEngine(step_seconds=0.5), "--seconds", "100")

    assert "failure" not in result
    assert len(result["levels"][0]["windows"]) >= 4


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_answers_that_the_engine_gives_up_are_cut(reason: str) -> None:
    engine = SteppingEngine(
        answer_tokens=lambda number, asked: 20 if number % 2 else asked,
        finish_reason=lambda number: reason if number % 2 else "length",
    )

    result = measured(engine)

    assert result["failure"]["reason"] == "StreamsCut"
    assert f"with finish_reason {reason}" in result["failure"]["message"]
    assert result["levels"][0]["endedByEOS"] == 0


def test_answers_that_the_model_ends_are_whole() -> None:
    result = measured(SteppingEngine(answer_tokens=lambda _, __: 40, finish_reason=lambda _: "stop"))

    assert "failure" not in result
    assert result["levels"][0]["endedByEOS"] == result["levels"][0]["requests"]


def test_a_second_measurement_finds_nothing_in_the_cache_that_the_first_left() -> None:
    engine = SteppingEngine(has_prefix_cache=True)

    for _ in range(2):
        assert warnings(measured(engine)) == {}
    salts = [body["cache_salt"] for body in engine.bodies]
    assert len(set(salts)) == len(salts)


def test_prompts_out_of_a_cache_are_told() -> None:
    """A server that takes no salt, asked twice."""
    engine = SteppingEngine(has_prefix_cache=True, owner="someone", has_metrics=False)
    measured(engine)

    assert "were found in a cache" in warnings(measured(engine))["CachedPrompts"]


def test_a_counter_of_cached_tokens_tells_it_too() -> None:
    """As vLLM does, whose answers do not."""
    sample = 'vllm:prefix_cache_hits_total{engine="0",model_name="tiny"} '
    engine = SteppingEngine(
        scrape=lambda number, text: web.Response(text=text.replace(f"{sample}0", f"{sample}{50 * number}"))
    )

    assert "CachedPrompts" in warnings(measured(engine))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"shows": lambda place: place >= 52}, "streams delivered a message for more than 4.0 tokens"),
        ({"buffer_bytes": 2048}, "of their text or more in the first chunk"),
        ({"buffer_bytes": 100_000}, "of their text or more in the final chunk"),
    ],
    ids=["hidden-thinking", "proxy", "large-buffer"],
)
def test_tokens_that_are_kept_back_have_no_times(fault: dict[str, Any], words: str) -> None:
    result = measured(SteppingEngine(**fault))

    assert words in warnings(result)["LatenciesUnmeasurable"]
    assert words in result["levels"][0]["latencies"]["unmeasurable"]
    assert "timePerOutputToken" not in result["levels"][0]["latencies"]


def test_several_tokens_a_message_are_what_speculation_brings() -> None:
    result = measured(SteppingEngine(n_spec=8, accepted=lambda _: 8))

    assert warnings(result) == {}
    assert "timePerOutputToken" in result["levels"][0]["latencies"]


def test_answers_without_any_text() -> None:
    result = measured(SteppingEngine(shows=lambda _: False))

    assert "answers have tokens but no text" in warnings(result)["NoText"]


def test_usage_that_counts_messages_is_no_stranger() -> None:
    told = warnings(measured(SteppingEngine(n_spec=3, accepted=lambda _: 2, counts_messages=True)))

    assert "usage.completion_tokens is the number of messages" in told["UsageCountsMessages"]
    assert "OtherRequests" not in told


def test_usage_that_counts_messages_is_suspected_where_nothing_else_counts() -> None:
    engine = SteppingEngine(n_spec=3, accepted=lambda _: 2, counts_messages=True, owner="someone", has_metrics=False)

    told = warnings(measured(engine, "--n-spec", "3"))

    assert "if the server counts messages, the reported throughput is too low" in told["UsageCountsMessages"]


def test_a_server_that_ignores_max_tokens() -> None:
    told = warnings(measured(SteppingEngine(answer_tokens=lambda _, asked: 2 * asked)))

    assert "have more than the 64 tokens asked for" in told["MaxTokensIgnored"]


def test_a_server_that_ignores_stream() -> None:
    done = bench(SteppingEngine(streams=False))

    assert done.exit_code == 1
    assert "the server ignores stream: true" in done.stderr


def test_a_drafter_that_wears_out_is_told_from_a_machine_that_throttles() -> None:
    result = measured(SteppingEngine(n_spec=3, accepted=lambda number: 2 if number < 13 else 0))

    assert result["failure"]["reason"] == "AcceptanceFell"
    assert (
        "100% of the drafts had their first token accepted at the level's beginning, 0% at its end"
        in (result["failure"]["message"])
    )


def test_n_grams_that_seldom_match_are_measured() -> None:
    engine = SteppingEngine(n_spec=3, accepted=lambda _: 2, drafts=lambda step: step % 20 == 0)

    result = measured(engine, "--n-spec", "3")

    assert "failure" not in result
    assert warnings(result) == {
        "DraftsInSomeSteps": "concurrency 1: 5% of the steps drafted; the others produced a single token"
    }


def test_usage_that_counts_messages_is_why_the_counters_disagree() -> None:
    result = measured(SteppingEngine(n_spec=3, accepted=lambda _: 2, counts_messages=True))

    assert result["failure"]["reason"] == "CountersDisagree"
    assert result["failure"]["message"].endswith("usage.completion_tokens is the number of messages in each stream")


def test_answers_of_one_token_are_too_short_to_draft() -> None:
    engine = SteppingEngine(n_spec=3, answer_tokens=lambda _, __: 1, finish_reason=lambda _: "stop")

    assert measured(engine, "--n-spec", "3")["failure"]["reason"] == "OutputsTooShort"


def test_n_grams_that_never_match_are_one_reason_for_no_draft() -> None:
    result = measured(SteppingEngine(n_spec=3, drafts=lambda _: False), "--n-spec", "3")

    assert result["failure"]["message"].endswith("the drafter is not loaded, or n-grams found nothing to draft")
