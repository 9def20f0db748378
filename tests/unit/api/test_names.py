"""Names of children are legal and distinct for every legal name of a model."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from mtp_operator.api.base import MAX_N_SPEC
from mtp_operator.api.model import NAME_LIMIT
from mtp_operator.api.run import MAX_ARMS, MAX_ATTEMPTS, job_name, run_name

LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")

names = st.from_regex(rf"[a-z]([-a-z0-9]{{0,{NAME_LIMIT - 2}}}[a-z0-9])?", fullmatch=True)
hashes = st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)
requests = st.integers(0, 1_000_000)
trials = st.tuples(st.integers(0, MAX_N_SPEC), st.integers(0, MAX_ARMS - 1), st.integers(0, MAX_ATTEMPTS - 1))


@settings(deadline=None)
@given(names, hashes, requests, trials)
def test_names_are_labels(model: str, request_hash: str, request: int, trial: tuple[int, int, int]) -> None:
    run = run_name(model, request_hash, request)

    assert LABEL.fullmatch(run)
    assert LABEL.fullmatch(job_name(run, *trial))


def test_the_longest_name_is_used_up() -> None:
    run = run_name("m" * NAME_LIMIT, f"sha256:{'0' * 64}", 0)

    assert len(job_name(run, MAX_N_SPEC, MAX_ARMS - 1, MAX_ATTEMPTS - 1)) == 63


@settings(deadline=None)
@given(st.tuples(names, hashes, requests, trials), st.tuples(names, hashes, requests, trials))
def test_jobs_of_different_trials_have_different_names(
    one: tuple[str, str, int, tuple[int, int, int]], other: tuple[str, str, int, tuple[int, int, int]]
) -> None:
    def name(model: str, request_hash: str, request: int, trial: tuple[int, int, int]) -> str:
        return job_name(run_name(model, request_hash, request), *trial)

    assert (name(*one) == name(*other)) == (one == other)


def test_a_model_named_like_another_ones_job_has_names_of_its_own() -> None:
    request_hash = f"sha256:{'0' * 64}"
    run = run_name("gemma", request_hash, 0)
    job = job_name(run, 1, 0, 0)

    assert run_name(job, request_hash, 0) != run
    assert job_name(run_name(job, request_hash, 0), 1, 0, 0) != job


@settings(deadline=None)
@given(hashes, requests, requests)
def test_a_new_request_is_a_new_run(request_hash: str, one: int, other: int) -> None:
    assert (run_name("gemma", request_hash, one) == run_name("gemma", request_hash, other)) == (one == other)
