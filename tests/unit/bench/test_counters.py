"""The engines' counters, read from what real engines exposed."""

import pytest

from mtp_operator.api.spec import EngineType
from mtp_operator.bench.draft_counters import Counters, DraftCounters, read_counters
from mtp_operator.engines import engine_for

VLLM = """\
# HELP vllm:spec_decode_num_drafts_total Number of spec decoding drafts.
# TYPE vllm:spec_decode_num_drafts_total counter
vllm:spec_decode_num_drafts_total{engine="0",model_name="tiny"} 1673.0
# HELP vllm:spec_decode_num_drafts_created Number of spec decoding drafts.
# TYPE vllm:spec_decode_num_drafts_created gauge
vllm:spec_decode_num_drafts_created{engine="0",model_name="tiny"} 1.7954514589851134e+09
# TYPE vllm:spec_decode_num_draft_tokens_total counter
vllm:spec_decode_num_draft_tokens_total{engine="0",model_name="tiny"} 3346.0
# TYPE vllm:spec_decode_num_accepted_tokens_total counter
vllm:spec_decode_num_accepted_tokens_total{engine="0",model_name="tiny"} 1642.0
# TYPE vllm:spec_decode_num_accepted_tokens_per_pos_total counter
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",model_name="tiny",position="0"} 976.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",model_name="tiny",position="1"} 666.0
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{engine="0",model_name="tiny"} 3339.0
"""

LLAMA_CPP = """\
llamacpp:tokens_predicted_total 761
llamacpp:prompt_tokens_total 329
llamacpp:spec_decode_num_draft_tokens_total 857
llamacpp:spec_decode_num_accepted_tokens_total 531
llamacpp:spec_decode_num_drafts_total 222
llamacpp:spec_decode_num_accepted_tokens_per_pos_total{position="3"} 89
llamacpp:spec_decode_num_accepted_tokens_per_pos_total{position="0"} 191
llamacpp:spec_decode_num_accepted_tokens_per_pos_total{position="1"} 143
llamacpp:spec_decode_num_accepted_tokens_per_pos_total{position="2"} 108
"""


SGLANG = """\
# HELP sglang:generation_tokens_total Number of generation tokens processed.
# TYPE sglang:generation_tokens_total counter
sglang:generation_tokens_total{engine_type="unified",is_streaming="true",model_name="tiny"} 2000.0
sglang:generation_tokens_total{engine_type="unified",is_streaming="false",model_name="tiny"} 100.0
# TYPE sglang:spec_verify_calls_total counter
sglang:spec_verify_calls_total{engine_type="unified",model_name="tiny"} 900.0
# TYPE sglang:num_requests_total counter
sglang:num_requests_total{engine_type="unified",is_streaming="true",model_name="tiny"} 20.0
sglang:num_requests_total{engine_type="unified",is_streaming="false",model_name="tiny"} 1.0
# TYPE sglang:cached_tokens_total counter
sglang:cached_tokens_total{cache_source="device",engine_type="unified",model_name="tiny"} 7.0
# TYPE sglang:spec_accept_length gauge
sglang:spec_accept_length{engine_type="unified",model_name="tiny",pp_rank="0",tp_rank="0"} 2.31
"""
"""Names and labels as in the sources of SGLang 0.5.23, which counts when a request has ended."""


def read(engine_type: EngineType, text: str) -> Counters:
    return read_counters(text, engine_for(engine_type).metrics)


def test_vllm() -> None:
    assert read(EngineType.VLLM, VLLM) == Counters(3339, DraftCounters(1673, 3346, 1642, (976, 666)))


def test_a_simulation_says_so() -> None:
    counters = read(EngineType.VLLM, f'{VLLM}simulated_gpu_info{{curve="gemma"}} 1.0\n')

    assert counters == Counters(3339, DraftCounters(1673, 3346, 1642, (976, 666)), simulated_curve="gemma")
    assert counters.since(counters).simulated_curve == "gemma"
    assert read(EngineType.VLLM, VLLM).simulated_curve is None


def test_llama_cpp() -> None:
    assert read(EngineType.LLAMA_CPP, LLAMA_CPP) == Counters(761, DraftCounters(222, 857, 531, (191, 143, 108, 89)))


def test_sglang_counts_what_it_wrote_and_its_steps_and_the_rest_was_accepted() -> None:
    counters = read(EngineType.SGLANG, SGLANG)

    assert counters == Counters(2100, DraftCounters(900, None, 2100 - 900 - 21, ()), cached_tokens=7)
    assert counters.drafting is not None
    assert counters.drafting.tokens_per_step == pytest.approx(1 + 1179 / 900)
    assert counters.since(read(EngineType.SGLANG, SGLANG.replace("900.0", "800.0").replace("2000.0", "1850.0"))) == (
        Counters(150, DraftCounters(100, None, 50, ()), cached_tokens=0)
    )


def test_sglang_without_speculation_has_accepted_nothing() -> None:
    text = "".join(line + "\n" for line in SGLANG.splitlines() if "verify" not in line)

    assert read(EngineType.SGLANG, text).drafting == DraftCounters(0, None, 0, ())


def test_a_request_that_ended_without_a_token_is_no_other_boot() -> None:
    aborted = SGLANG.replace("20.0", "21.0")

    assert read(EngineType.SGLANG, aborted).since(read(EngineType.SGLANG, SGLANG)) == (
        Counters(0, DraftCounters(0, None, 0, ()), cached_tokens=0)
    )


def test_processes_of_one_server_are_summed() -> None:
    both = VLLM + "".join(
        line.replace('engine="0"', 'engine="1"') + "\n" for line in VLLM.splitlines() if line.startswith("vllm:")
    )

    assert read(EngineType.VLLM, both) == Counters(
        2 * 3339, DraftCounters(2 * 1673, 2 * 3346, 2 * 1642, (2 * 976, 2 * 666))
    )


def test_vllm_shows_its_counters_of_drafts_whenever_it_speculates() -> None:
    assert read(EngineType.VLLM, 'vllm:generation_tokens_total{engine="0"} 329.0\n') == Counters(
        329, DraftCounters(0, 0, 0, ())
    )
    assert read(EngineType.VLLM, "other 1\n") == Counters(None, None)


def test_an_engine_without_counters_of_drafts_counts_its_tokens_only() -> None:
    assert read(EngineType.LLAMA_CPP, "llamacpp:tokens_predicted_total 329\n") == Counters(329, None)
    assert read(EngineType.LLAMA_CPP, "other 1\n") == Counters(None, None)


def test_difference_between_two_moments() -> None:
    earlier = Counters(100, DraftCounters(10, 20, 12, (8,)))
    later = Counters(150, DraftCounters(15, 30, 19, (12, 7)))

    assert later.since(earlier) == Counters(50, DraftCounters(5, 10, 7, (4, 7)))
    assert later.since(Counters(100, None)) == Counters(50, later.drafting)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (VLLM.replace('position="0"', 'pos="0"'), "has no position in its label position, but the labels"),
        (VLLM.replace("1673.0", "+Inf"), "vllm:spec_decode_num_drafts_total is inf"),
        (VLLM.replace("3339.0", "NaN"), "vllm:generation_tokens_total is nan"),
    ],
)
def test_counters_that_are_not_as_expected_are_an_error(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read(EngineType.VLLM, text)


@pytest.mark.parametrize(
    ("now", "before"),
    [
        (Counters(10), Counters(20)),
        (Counters(None, DraftCounters(1, 2, 1, (1,))), Counters(None, DraftCounters(10, 20, 12, (8,)))),
    ],
)
def test_counters_that_go_backwards_are_of_another_boot(now: Counters, before: Counters) -> None:
    with pytest.raises(ValueError, match="went backwards"):
        now.since(before)


@pytest.mark.parametrize(
    "line",
    [
        'vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0"} 5',
        'vllm:generation_tokens_total{engine="0"} +Inf',
    ],
)
def test_a_counter_that_cannot_be_is_one_clear_error(line: str) -> None:
    name = line.partition("{")[0]

    with pytest.raises(ValueError, match=r"no position in its label position|is inf"):
        read(EngineType.VLLM, f"# TYPE {name} counter\n{line}\n")


@pytest.mark.parametrize(
    "sample",
    [
        "vllm:generation_tokens_total +Inf",
        "vllm:generation_tokens_total NaN",
        "vllm:spec_decode_num_accepted_tokens_per_pos_total 5",
        'vllm:spec_decode_num_accepted_tokens_per_pos_total{position="300000000"} 5',
    ],
)
def test_a_counter_that_cannot_be_is_an_error_in_words(sample: str) -> None:
    with pytest.raises(ValueError, match="vllm:"):
        read(EngineType.VLLM, f"vllm:generation_tokens_total 5\n{sample}\n")
