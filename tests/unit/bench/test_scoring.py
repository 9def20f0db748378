"""What the check of the output sees, with both engines' ways of scoring."""

import itertools
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from mtp_operator.api.spec import EngineType
from mtp_operator.api.trial_documents import OutputCheck, OutputStatus, StructuredOutput
from mtp_operator.bench.output_checker import LONGEST_TOKENS, PROOFS, OutputChecker
from mtp_operator.engines import engine_for

from .scoring_engine import ScoringEngine, runner_up, target

both_engines = pytest.mark.parametrize("engine", list(EngineType))


async def check(
    server: ScoringEngine,
    engine: EngineType = EngineType.VLLM,
    concurrencies: tuple[int, ...] = (1,),
    output_tokens: int = 256,
    limit_seconds: float = 60,
    model_path: str | None = None,
    prompt: str = "say a word or two",
) -> OutputCheck:
    async with (
        TestServer(server.application()) as listening,
        aiohttp.ClientSession(base_url=listening.make_url("/")) as session,
    ):
        checker = OutputChecker(session, engine_for(engine), "tiny", model_path, seed=3)
        levels = [(one, itertools.repeat([{"role": "user", "content": prompt}])) for one in concurrencies]
        return await checker.check(levels, output_tokens, limit_seconds)


@both_engines
async def test_what_the_target_says_itself_has_no_fault(engine: EngineType) -> None:
    seen = await check(ScoringEngine(), engine, (1, 4))

    assert seen.status is OutputStatus.SCORED
    assert seen.positions == 256 if engine is EngineType.LLAMA_CPP else 3 * 512
    assert (seen.violations, seen.large_gaps, seen.altered_texts) == (0, 0, 0)
    assert seen.worst_gap_nats == 0
    assert seen.first_divergence is None


@both_engines
async def test_a_wrong_token_is_found_and_shown(engine: EngineType) -> None:
    seen = await check(ScoringEngine(says_second_best=lambda position: position % 8 == 7), engine)

    assert seen.violations == pytest.approx(seen.positions / 8, rel=0.4)
    assert seen.violations == seen.large_gaps
    assert seen.worst_gap_nats == pytest.approx(9)
    assert seen.altered_texts == 0
    first = seen.first_divergence
    assert first is not None
    assert first.position % 8 == 7
    before = int(first.context.rsplit("w", 1)[1])
    assert (first.expected, first.actual) == (f" w{target(before)}", f" w{runner_up(before)}")


@both_engines
@pytest.mark.parametrize(("gap", "is_violation"), [(0.2, False), (0.3, True)])
async def test_a_near_tie_is_no_fault(engine: EngineType, gap: float, *, is_violation: bool) -> None:
    """Both are the model's: which one comes is up to the last bits of the arithmetic."""
    server = ScoringEngine(says_second_best=lambda _: True, runner_up_gap=gap, file_type="BF16")

    seen = await check(server, engine)

    assert seen.worst_gap_nats == pytest.approx(gap, abs=1e-3)
    assert (seen.violations > 0.9 * seen.positions) if is_violation else (seen.violations == 0)
    assert seen.large_gaps == 0


@both_engines
async def test_a_text_that_its_tokens_do_not_say(engine: EngineType) -> None:
    seen = await check(ScoringEngine(text=lambda text: text.replace("w7", "w8")), engine)

    assert seen.violations == 0
    assert seen.altered_texts == seen.texts > 0
    assert seen.first_divergence is not None
    assert seen.first_divergence.expected[:1] == "7"
    assert seen.first_divergence.actual[:1] == "8"


@both_engines
async def test_an_engine_that_writes_more_than_it_was_asked_for_is_not_scored(engine: EngineType) -> None:
    seen = await check(ScoringEngine(talks_on=40_000), engine)

    assert seen.status is OutputStatus.UNVERIFIED
    assert seen.message is not None
    assert "tokens came where" in seen.message


@both_engines
async def test_the_end_of_a_text_is_a_token_that_nobody_reads(engine: EngineType) -> None:
    server = ScoringEngine(ends_after=20)

    seen = await check(server, engine)

    assert seen.status is OutputStatus.SCORED
    assert seen.altered_texts == 0
    assert seen.texts == 8 * 2 + 4 * 8


async def test_text_that_is_cut_within_a_character_is_the_same_text() -> None:
    seen = await check(ScoringEngine(text=lambda text: text + "\N{REPLACEMENT CHARACTER}"))

    assert seen.altered_texts == 0


async def test_every_level_writes_as_many_at_once_as_it_measures_and_scoring_one_at_a_time() -> None:
    server = ScoringEngine()

    await check(server, concurrencies=(1, 8))

    writing = [body for path, body in server.requests if path == "/v1/completions" and "prompt_logprobs" not in body]
    assert [body["max_tokens"] for body in writing] == [256, 256] + [64] * 8 + [1] * 8
    assert len({body["cache_salt"] for body in writing}) == len(writing)
    kinds = ["prompt_logprobs" in body for path, body in server.requests if path == "/v1/completions"]
    assert kinds[:10] == [False] * 10
    assert kinds[26:] == [True] * 10


async def test_prompt_and_output_are_at_most_a_thousand_tokens() -> None:
    server = ScoringEngine()

    await check(server, prompt="word " * 3000)

    scored = [body["prompt"] for _, body in server.requests if "prompt_logprobs" in body]
    assert scored
    assert max(len(tokens) for tokens in scored) == LONGEST_TOKENS
    assert [len(tokens) for tokens in scored[8:]] == [LONGEST_TOKENS] * 10


async def test_llamacpp_computes_each_sequence_anew_and_then_goes_on_from_there() -> None:
    server = ScoringEngine()

    await check(server, EngineType.LLAMA_CPP)

    scoring = [body for _, body in server.requests if "n_probs" in body][PROOFS:]
    places = [index for index, body in enumerate(scoring) if not body["cache_prompt"]]
    assert len(places) == 2 + 8
    assert all(body["n_predict"] == 1 and body["id_slot"] == 0 for body in scoring)
    lengths = [len(body["prompt"]) for body in scoring]
    for begin, end in pairwise([*places, len(scoring)]):
        assert lengths[begin:end] == sorted(lengths[begin:end])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"refuses": ("/v1/completions",)}, "HTTP 400"),
        ({"refuses": ("/tokenize",)}, "/tokenize answered HTTP 400"),
        ({"drafts_single_tokens": True, "engine": EngineType.LLAMA_CPP}, "2 tokens were drafted"),
    ],
    ids=["no-scoring", "no-tokenizer", "drafts-while-scoring"],
)
async def test_what_cannot_be_scored_is_unverified(changes: dict[str, Any], words: str) -> None:
    engine = changes.pop("engine", EngineType.VLLM)

    seen = await check(ScoringEngine(**changes), engine)

    assert seen.status is OutputStatus.UNVERIFIED
    assert seen.message is not None
    assert words in seen.message


async def test_scoring_that_takes_too_long_is_unverified() -> None:
    seen = await check(ScoringEngine(), limit_seconds=0)

    assert seen.status is OutputStatus.UNVERIFIED
    assert seen.message == "checking the output took longer than 0 s"


async def test_an_engine_that_ends_is_unverified() -> None:
    async with aiohttp.ClientSession(base_url="http://127.0.0.1:9") as session:
        checker = OutputChecker(session, engine_for(EngineType.VLLM), "tiny", None, seed=3)
        seen = await checker.check([(1, itertools.repeat([{"role": "user", "content": "a"}]))], 64, 60)

    assert seen.status is OutputStatus.UNVERIFIED
    assert seen.message == "the engine ended while its output was checked (ClientConnectorError)"


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, StructuredOutput.PASSED),
        ({"form": '{"on": true, "colour": "blue", "percent": 50}'}, StructuredOutput.FAILED),
        ({"form": '{"on": true, "colour": '}, StructuredOutput.FAILED),
        ({"form": '{"on": true, "colour": ', "finish_reason": "length"}, StructuredOutput.NOT_CHECKED),
        ({"refuses": ("/v1/chat/completions",)}, StructuredOutput.NOT_CHECKED),
    ],
    ids=["good", "against-the-schema", "no-json", "cut-off", "refused"],
)
async def test_structured_output(changes: dict[str, Any], outcome: StructuredOutput) -> None:
    seen = await check(ScoringEngine(**changes))

    assert seen.status is OutputStatus.SCORED
    assert seen.json_schema is outcome
    assert seen.tool_call is outcome


@pytest.mark.parametrize(
    ("file_type", "nats"), [("BF16", 0.25), ("all F32", 0.25), ("(guessed) Q8_0", 0.5), ("", 0.25)]
)
async def test_llamacpp_says_itself_how_precise_it_is(file_type: str, nats: float) -> None:
    seen = await check(ScoringEngine(file_type=file_type), EngineType.LLAMA_CPP)

    assert seen.tolerance_nats == nats


@pytest.mark.parametrize(
    ("configuration", "nats"),
    [
        ("{}", 0.25),
        ('{"quantization_config": {"quant_method": "fp8"}}', 0.5),
        ('{"text_config": {"quantization_config": {}}}', 0.5),
        ('{"compression_config": {"quant_method": "compressed-tensors"}}', 0.5),
        ("no json", 0.25),
        (None, 0.25),
    ],
)
async def test_vllms_model_says_how_precise_it_is(tmp_path: Path, configuration: str | None, nats: float) -> None:
    if configuration is not None:
        (tmp_path / "config.json").write_text(configuration)

    assert (await check(ScoringEngine(), model_path=str(tmp_path))).tolerance_nats == nats


async def test_a_quantization_in_a_file_of_its_own_counts_too(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "hf_quant_config.json").write_text('{"quantization": {"quant_algo": "NVFP4"}}')

    assert (await check(ScoringEngine(), model_path=str(tmp_path))).tolerance_nats == 0.5


@both_engines
async def test_a_fault_that_shows_in_company_only_is_found_at_one_level_of_one_request(engine: EngineType) -> None:
    server = ScoringEngine(says_second_best=lambda position: position % 4 == 3, errs_in_company=True)

    seen = await check(server, engine, concurrencies=(1,))

    assert seen.large_gaps > 0.05 * seen.positions


async def test_a_server_that_decodes_one_request_at_a_time_is_not_asked_for_company() -> None:
    server = ScoringEngine(slots=1)

    await check(server, EngineType.LLAMA_CPP)

    written = [body for path, body in server.requests if path == "/completion" and "n_probs" not in body]
    assert [body["n_predict"] for body in written] == [256, 256, 1, 1]


@both_engines
async def test_penalties_that_a_model_has_by_default_stay_out_of_what_is_scored(engine: EngineType) -> None:
    seen = await check(ScoringEngine(is_penalizing=True), engine)

    assert (seen.status, seen.violations) == (OutputStatus.SCORED, 0)


async def test_log_probabilities_that_speculation_overwrites_prove_nothing_against_an_output() -> None:
    seen = await check(ScoringEngine(overwrites_log_probabilities=True))

    assert seen.status is OutputStatus.UNVERIFIED
    assert seen.message is not None
    assert "8 of 8 tokens for which nothing was drafted are not its own choice either" in seen.message


@pytest.mark.parametrize(
    "breaks",
    [
        lambda body: bool(body.get("stream")),
        lambda body: "chat_template_kwargs" not in body,
        lambda body: not body.get("stream") and "chat_template_kwargs" not in body,
    ],
    ids=["streamed", "thinking", "in-company"],
)
async def test_structured_output_that_breaks_only_as_clients_ask_for_it(breaks: Any) -> None:
    seen = await check(ScoringEngine(breaks=breaks))

    assert (seen.json_schema, seen.tool_call) == (StructuredOutput.FAILED, StructuredOutput.FAILED)


async def test_structured_output_is_asked_for_in_company_streamed_and_with_the_models_own_thinking() -> None:
    server = ScoringEngine()

    seen = await check(server)

    asked = [body for path, body in server.requests if path == "/v1/chat/completions"]
    assert (seen.json_schema, seen.tool_call) == (StructuredOutput.PASSED, StructuredOutput.PASSED)
    assert [bool(body.get("stream")) for body in asked] == 2 * [False, *[True, False] * 4]
    assert ["chat_template_kwargs" in body for body in asked] == 2 * [True, *[False] * 8]
    assert server.most_in_flight == 8
