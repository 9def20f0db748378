"""A trial's result fits into a termination message whatever was measured, and a cut one is never taken for whole."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtp_operator.api.base import MAX_LEVELS, MAX_N_SPEC, MAX_WINDOWS
from mtp_operator.api.trial import RESULT_LIMIT_BYTES, LevelResult, TrialFailure, TrialResult

counts = st.integers(min_value=0, max_value=10**9)
optional_counts = st.none() | counts
speeds = st.floats(min_value=0, max_value=1e9, allow_nan=False)
levels = st.builds(
    LevelResult,
    concurrency=st.integers(1, 1024),
    windows=st.lists(speeds, max_size=MAX_WINDOWS).map(tuple),
    requests=counts,
    failed_requests=counts,
    output_tokens=counts,
    drafts=optional_counts,
    draft_tokens=optional_counts,
    accepted_tokens=optional_counts,
    accepted_per_position=st.lists(counts, max_size=MAX_N_SPEC).map(tuple),
)
failures = st.builds(
    TrialFailure,
    reason=st.from_regex(r"[A-Z][A-Za-z0-9]{0,63}", fullmatch=True),
    message=st.text(max_size=1024),
)
results = st.builds(
    TrialResult,
    n_spec=st.integers(0, MAX_N_SPEC),
    levels=st.lists(levels, max_size=MAX_LEVELS).map(tuple),
    failure=st.none() | failures,
)


def full_level(windows: tuple[float, ...], counter: int = 10**9 - 1) -> LevelResult:
    return LevelResult(
        concurrency=1024,
        windows=windows,
        requests=counter,
        failed_requests=counter,
        output_tokens=counter,
        drafts=counter,
        draft_tokens=counter,
        accepted_tokens=counter,
        accepted_per_position=(counter,) * MAX_N_SPEC,
    )


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
    assert [level.model_copy(update={"windows": ()}) for level in decoded.levels] == [
        level.model_copy(update={"windows": ()}) for level in result.levels
    ]


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
    result = TrialResult(n_spec=16, levels=(full_level(windows, counter=99_999),) * MAX_LEVELS)

    decoded = TrialResult.decode(result.encode())

    assert [len(level.windows) for level in decoded.levels] == [MAX_WINDOWS] * MAX_LEVELS
    assert decoded.levels[0].windows[:3] == (123.5, 123.6, 123.7)


def test_the_largest_result_keeps_windows_of_every_level() -> None:
    windows = tuple(float(1_000 + index) for index in range(MAX_WINDOWS))
    failure = TrialFailure(reason="OutputDiffers", message="The output differs. " * 50)
    result = TrialResult(n_spec=16, levels=(full_level(windows),) * MAX_LEVELS, failure=failure)

    decoded = TrialResult.decode(result.encode())

    kept = decoded.levels[0].windows
    assert 0 < len(kept) < MAX_WINDOWS
    assert all(level.windows == kept for level in decoded.levels)
    assert decoded.failure == failure


def test_a_message_full_of_escapes_is_cut_last() -> None:
    failure = TrialFailure(reason="EngineFailed", message="\N{PILE OF POO}" * 1024)
    result = TrialResult(n_spec=16, levels=(full_level((1.0, 2.0)),) * MAX_LEVELS, failure=failure)

    decoded = TrialResult.decode(result.encode())

    assert [level.windows for level in decoded.levels] == [(1.0,)] * MAX_LEVELS
    assert decoded.failure is not None
    assert decoded.failure.message.endswith("…")


def test_what_cannot_be_shortened_is_an_error() -> None:
    result = TrialResult(n_spec=16, levels=(full_level((1.0,), counter=10**60),) * MAX_LEVELS)

    with pytest.raises(ValueError, match="3000 are allowed"):
        result.encode()
