"""A given list is sent in its order, and its time runs as the drain rule says."""

from pathlib import Path

import pytest

from mtp_operator.bench.prompts import Prompt, PromptsUnusableError
from mtp_operator.bench.request_list import Drain, ListResult, read_requests, send_list
from tests.unit.bench.fake_engine import FakeEngine
from tests.unit.bench.virtual_time import run_in_virtual_time

LIST = tuple((Prompt("", ({"role": "user", "content": str(number)},), seed=number), 100) for number in range(5))


def send(engine: FakeEngine, drain: Drain, concurrency: int = 2) -> ListResult:
    return run_in_virtual_time(engine.run(lambda client: send_list(client, LIST, concurrency, drain))).result()


@pytest.mark.parametrize(
    ("drain", "seconds", "tokens_per_second"),
    [
        # Two slots, a second a request: the last one starts at 2 s, when four have ended, and runs alone.
        (Drain.INCLUDE, 3.0, 500 / 3),
        (Drain.EXCLUDE, 2.0, 300 / 2),
    ],
)
def test_the_drain_counts_or_not(drain: Drain, seconds: float, tokens_per_second: float) -> None:
    engine = FakeEngine(tokens_per_second=lambda number: 100.0 if number else 99.0)

    result = send(engine, drain)

    assert [body["messages"][0]["content"] for body in engine.bodies] == list("01234")
    assert result.seconds == pytest.approx(seconds, rel=0.02)
    assert result.output_tokens_per_second == pytest.approx(tokens_per_second, rel=0.02)
    assert (result.output_tokens, result.generated_tokens) == (500, 500)


def test_failures_are_counted_and_have_no_tokens() -> None:
    result = send(FakeEngine(fails=lambda number: number == 1), Drain.INCLUDE)

    assert (result.requests, result.failed_requests, result.output_tokens) == (5, 1, 400)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nonsense", "is not valid JSON"),
        ("[]", "valid dictionary"),
        ("{}", "prompt: Field required"),
        ('{"prompt": ""}', "prompt: String should have at least 1 character"),
        ('{"prompt": "a", "output_tokens": 0}', "output_tokens: Input should be greater than or equal to 1"),
        ('{"prompt": "a", "outputTokens": 3}', "outputTokens: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, words: str) -> None:
    file = tmp_path / "list.jsonl"
    file.write_text(f'{{"prompt": "fine"}}\n{line}\n')

    with pytest.raises(PromptsUnusableError, match=rf"--requests: line 2: .*{words}"):
        read_requests(file, "--requests", 64)


def test_an_empty_list_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "list.jsonl"
    file.write_text("\n")

    with pytest.raises(PromptsUnusableError, match="has no request"):
        read_requests(file, "--requests", 64)
