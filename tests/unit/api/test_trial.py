"""A trial's result fits into a termination message whatever was measured, and a cut one is never taken for whole."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtp_operator.api.base import MAX_CATEGORIES, MAX_LEVELS, MAX_N_SPEC, MAX_WARNINGS, MAX_WINDOWS
from mtp_operator.api.spec import LatencyMetric
from mtp_operator.api.trial_documents import (
    RESULT_LIMIT_BYTES,
    Divergence,
    Latencies,
    LatencySummary,
    LevelResult,
    OutputCheck,
    OutputStatus,
    TrialFailure,
    TrialResult,
    TrialWarning,
)
from mtp_operator.measures.quantities import LatencyCount

counts = st.integers(min_value=0, max_value=10**9)
optional_counts = st.none() | counts
measures = st.floats(min_value=0, max_value=1e9, allow_nan=False)
summaries = st.builds(LatencySummary, measures, measures, measures, measures)
reasons = st.from_regex(r"[A-Z][A-Za-z0-9]{0,63}", fullmatch=True)
texts = st.text(max_size=1024)
levels = st.builds(
    LevelResult,
    concurrency=st.integers(1, 1024),
    windows=st.lists(measures, max_size=MAX_WINDOWS).map(tuple),
    interactivity=st.none() | st.lists(measures, max_size=MAX_WINDOWS).map(tuple),
    requests=counts,
    failed_requests=counts,
    ended_by_eos=counts,
    output_tokens=counts,
    drafts=optional_counts,
    draft_tokens=optional_counts,
    accepted_tokens=optional_counts,
    accepted_per_position=st.lists(counts, max_size=MAX_N_SPEC).map(tuple),
    categories=st.dictionaries(
        st.from_regex(r"[A-Za-z][-_A-Za-z0-9]{0,15}", fullmatch=True), measures, max_size=MAX_CATEGORIES
    ),
    latencies=st.none()
    | st.builds(
        Latencies,
        time_to_first_token=st.none() | summaries,
        time_per_output_token=st.none() | summaries,
        request_latency=st.none() | summaries,
        unmeasurable=st.none() | texts,
    ),
)
failures = st.builds(TrialFailure, reason=reasons, message=texts)
results = st.builds(
    TrialResult,
    n_spec=st.integers(0, MAX_N_SPEC),
    levels=st.lists(levels, max_size=MAX_LEVELS).map(tuple),
    failure=st.none() | failures,
    doubt=st.none() | failures,
    warnings=st.lists(st.builds(TrialWarning, reason=reasons, message=texts), max_size=MAX_WARNINGS).map(tuple),
    prompts_sha256=st.none() | st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
)


def full_level(
    windows: tuple[float, ...],
    counter: int = 10**9 - 1,
    limits: int = 0,
    interactivity: tuple[float, ...] | None = None,
) -> LevelResult:
    times = LatencySummary(123.456, 123.456, 1234.56, 12345.6)
    return LevelResult(
        concurrency=1024,
        windows=windows,
        interactivity=interactivity,
        requests=counter,
        failed_requests=counter,
        ended_by_eos=counter,
        output_tokens=counter,
        drafts=counter,
        draft_tokens=counter,
        accepted_tokens=counter,
        accepted_per_position=(counter,) * MAX_N_SPEC,
        categories={"Code": 71.234, "Chat": 71.234, "Summarize": 71.234, "JSON": 71.234},
        latencies=Latencies(time_to_first_token=times, time_per_output_token=times, request_latency=times),
        limits=(LatencyCount(metric=LatencyMetric.P95_TPOT, max_milliseconds=99_999, requests=999, exceeding=999),)
        * limits,
        client_cpu_share=0.123456,
    )


def counts_of(result: TrialResult) -> list[dict[str, object]]:
    shortened = ("windows", "interactivity", "categories", "latencies", "client_cpu_share")
    return [{name: value for name, value in level if name not in shortened} for level in result.levels]


@settings(deadline=None)
@given(results)
def test_every_result_fits_and_keeps_its_counters(result: TrialResult) -> None:
    line = result.encode()
    decoded = TrialResult.decode(line)

    assert len(line.encode()) <= RESULT_LIMIT_BYTES
    assert line.isascii()
    assert "\n" not in line
    assert decoded.n_spec == result.n_spec
    assert (decoded.failure is None) == (result.failure is None)
    assert (decoded.doubt is None) == (result.doubt is None)
    assert decoded.prompts_sha256 == result.prompts_sha256
    assert counts_of(decoded) == counts_of(result)


@settings(deadline=None)
@given(results)
def test_windows_are_rounded_and_thinned_evenly(result: TrialResult) -> None:
    decoded = TrialResult.decode(result.encode())
    kept = max((len(level.windows) for level in decoded.levels), default=0)

    for before, after in zip(result.levels, decoded.levels, strict=True):
        rounded = [float(f"{one:.4g}") for one in before.windows]
        count = len(before.windows)
        assert len(after.windows) == min(count, kept)
        if count > kept:
            rounded = [rounded[index * count // kept] for index in range(kept)]
        assert after.windows == tuple(rounded)


@settings(deadline=None)
@given(results, st.data())
def test_a_cut_message_is_no_result(result: TrialResult, data: st.DataObject) -> None:
    line = result.encode()
    cut = line[: data.draw(st.integers(0, len(line) - 1))]

    with pytest.raises(ValueError):  # noqa: PT011  # also pydantic's
        TrialResult.decode(cut)


@settings(deadline=None)
@given(st.text())
def test_other_text_is_no_result(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # also pydantic's
        TrialResult.decode(text)


def test_an_ordinary_result_loses_nothing_but_digits() -> None:
    windows = tuple(123.456 + 0.1 * index for index in range(MAX_WINDOWS))
    result = TrialResult(n_spec=8, levels=(full_level(windows, counter=99_999),) * 2)

    decoded = TrialResult.decode(result.encode())

    assert [len(level.windows) for level in decoded.levels] == [MAX_WINDOWS] * 2
    assert decoded.levels[0].windows[:3] == (123.5, 123.6, 123.7)
    assert decoded.levels[0].categories["Code"] == 71.23
    assert decoded.levels[0].latencies is not None
    assert decoded.levels[0].latencies.request_latency == LatencySummary(123.5, 123.5, 1235, 12350)


def test_four_levels_of_sixteen_positions_keep_everything_but_windows() -> None:
    windows = tuple(float(1_000 + index) for index in range(MAX_WINDOWS))
    check = OutputCheck(
        status=OutputStatus.SCORED,
        positions=2048,
        violations=1,
        worst_gap_nats=0.2512,
        first_divergence=Divergence(position=311, context="the end of the text before ", expected="it", actual="the"),
    )
    result = TrialResult(
        n_spec=16,
        levels=(full_level(windows, counter=99_999, limits=1),) * MAX_LEVELS,
        warnings=(TrialWarning(reason="UsageMissing", message="tokens are counted by the engine's counter"),),
        output_check=check,
    )

    decoded = TrialResult.decode(result.encode())

    kept = decoded.levels[0].windows
    assert 0 < len(kept) < MAX_WINDOWS
    assert all(level.windows == kept for level in decoded.levels)
    assert [level.latencies for level in decoded.levels if level.latencies and level.categories]
    assert counts_of(decoded) != []
    assert len(decoded.levels[0].limits) == 1
    assert decoded.warnings == result.warnings
    assert decoded.output_check == check


def test_texts_are_cut_before_the_last_windows_go() -> None:
    failure = TrialFailure(reason="EngineFailed", message="\N{PILE OF POO}" * 1024)
    windows = tuple(float(1_000 + index) for index in range(MAX_WINDOWS))
    result = TrialResult(n_spec=16, levels=(full_level(windows, counter=99_999),) * 2, failure=failure)

    decoded = TrialResult.decode(result.encode())

    assert [len(level.windows) for level in decoded.levels] == [4, 4]
    assert decoded.failure is not None
    assert decoded.failure.message.endswith("…")


def test_the_largest_result_keeps_its_counts_and_what_is_against_the_trial() -> None:
    failure = TrialFailure(reason="OutputDiffers", message="The output differs. " * 50)
    level = full_level((1.0, 2.0), limits=1, interactivity=(1.0, 2.0))
    result = TrialResult(n_spec=16, levels=(level,) * MAX_LEVELS, failure=failure, prompts_sha256="0" * 64)

    decoded = TrialResult.decode(result.encode())

    assert counts_of(decoded) == counts_of(result)
    assert decoded.failure is not None
    assert decoded.failure.reason == "OutputDiffers"
    assert decoded.prompts_sha256 == "0" * 64
    assert [len(one.interactivity or ()) for one in decoded.levels] == [len(one.windows) for one in decoded.levels]


def test_what_cannot_be_shortened_is_an_error() -> None:
    level = full_level((1.0,)).model_copy(update={"requests": 10**700})
    result = TrialResult(n_spec=16, levels=(level,) * MAX_LEVELS)

    with pytest.raises(ValueError, match="3000 are allowed"):
        result.encode()
