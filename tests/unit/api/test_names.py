"""Names of children are legal and distinct for every legal name of a model."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from mtp_operator.api.base import MAX_N_SPEC
from mtp_operator.api.candidate import CandidateId, candidate_id
from mtp_operator.api.model import NAME_LIMIT
from mtp_operator.api.run import MAX_ATTEMPTS, MAX_TRIALS, job_name, run_name
from mtp_operator.api.spec import SpeculationMethod

LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")

names = st.from_regex(rf"[a-z]([-a-z0-9]{{0,{NAME_LIMIT - 2}}}[a-z0-9])?", fullmatch=True)
hashes = st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)
requests = st.integers(0, 1_000_000)
attempts = st.tuples(st.integers(1, MAX_TRIALS), st.integers(0, MAX_ATTEMPTS - 1))


@settings(deadline=None)
@given(names, hashes, requests, attempts)
def test_names_are_labels(model: str, request_hash: str, request: int, attempt: tuple[int, int]) -> None:
    run = run_name(model, request_hash, request)

    assert LABEL.fullmatch(run)
    assert LABEL.fullmatch(job_name(run, *attempt))


def test_the_longest_name_is_a_label() -> None:
    run = run_name("m" * NAME_LIMIT, f"sha256:{'0' * 64}", 0)

    assert LABEL.fullmatch(job_name(run, MAX_TRIALS, MAX_ATTEMPTS - 1))


@settings(deadline=None)
@given(st.tuples(names, hashes, requests, attempts), st.tuples(names, hashes, requests, attempts))
def test_jobs_of_different_attempts_have_different_names(
    one: tuple[str, str, int, tuple[int, int]], other: tuple[str, str, int, tuple[int, int]]
) -> None:
    def name(model: str, request_hash: str, request: int, attempt: tuple[int, int]) -> str:
        return job_name(run_name(model, request_hash, request), *attempt)

    assert (name(*one) == name(*other)) == (one == other)


def test_a_model_named_like_another_ones_job_has_names_of_its_own() -> None:
    request_hash = f"sha256:{'0' * 64}"
    run = run_name("gemma", request_hash, 0)
    job = job_name(run, 1, 0)

    assert run_name(job, request_hash, 0) != run
    assert job_name(run_name(job, request_hash, 0), 1, 0) != job


@settings(deadline=None)
@given(hashes, requests, requests)
def test_a_new_request_is_a_new_run(request_hash: str, one: int, other: int) -> None:
    assert (run_name("gemma", request_hash, one) == run_name("gemma", request_hash, other)) == (one == other)


drafting = st.tuples(st.sampled_from(SpeculationMethod), st.integers(0, MAX_N_SPEC))


@given(drafting, drafting)
def test_candidates_have_ids_of_their_own_which_are_values_of_labels(
    one: tuple[SpeculationMethod, int], other: tuple[SpeculationMethod, int]
) -> None:
    drafts_nothing = not one[1] and not other[1]

    assert TypeAdapter(CandidateId).validate_python(candidate_id(*one)) == candidate_id(*one)
    assert LABEL.fullmatch(candidate_id(*one))
    assert (candidate_id(*one) == candidate_id(*other)) == (one == other or drafts_nothing)


@pytest.mark.parametrize(
    ("method", "n_spec", "candidate"),
    [("MTP", 0, "off"), ("MTP", 3, "mtp-3"), ("Eagle3", 5, "eagle3-5"), ("NGram", 4, "ngram-4"), ("NGram", 0, "off")],
)
def test_a_candidate_is_called_by_its_method_and_n(method: str, n_spec: int, candidate: str) -> None:
    assert candidate_id(SpeculationMethod(method), n_spec) == candidate


@pytest.mark.parametrize("n_spec", [-1, MAX_N_SPEC + 1])
def test_there_is_no_candidate_that_the_api_refuses(n_spec: int) -> None:
    with pytest.raises(ValueError, match="is not between 0 and 16"):
        candidate_id(SpeculationMethod.MTP, n_spec)
