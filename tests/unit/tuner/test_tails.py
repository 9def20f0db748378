"""Tails of distributions against exact fractions, and for the largest counts that are believed."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtp_operator.tuner.tails import binomial_tails, hypergeometric_at_least


def exact_hypergeometric(successes: int, draws: int, all_successes: int, population: int) -> Fraction:
    ways = sum(
        math.comb(draws, k) * math.comb(population - draws, all_successes - k)
        for k in range(successes, min(draws, all_successes) + 1)
    )
    return Fraction(ways, math.comb(population, all_successes))


@given(st.data())
def test_a_hypergeometric_tail_is_the_exact_one_or_one_up_to_the_mean(data: st.DataObject) -> None:
    population = data.draw(st.integers(1, 300))
    draws = data.draw(st.integers(1, population))
    all_successes = data.draw(st.integers(0, population))
    successes = data.draw(st.integers(0, min(draws, all_successes)))

    found = hypergeometric_at_least(successes, draws, all_successes, population)

    if successes * population <= draws * all_successes:
        assert found == 1
    else:
        exact = exact_hypergeometric(successes, draws, all_successes, population)
        assert found == pytest.approx(float(exact), rel=1e-9, abs=1e-290)


@given(trials=st.integers(1, 300), share=st.floats(0, 1), percent=st.integers(1, 99))
def test_binomial_tails_are_the_exact_ones(trials: int, share: float, percent: int) -> None:
    successes, p = round(share * trials), Fraction(percent, 100)
    terms = [math.comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(trials + 1)]

    few, many = binomial_tails(trials, successes, percent / 100)

    assert few == pytest.approx(float(sum(terms[: successes + 1])), rel=1e-8, abs=1e-12)
    assert many == pytest.approx(float(sum(terms[successes:])), rel=1e-8, abs=1e-12)


def test_the_largest_counts_have_finite_tails() -> None:
    """A sum over all terms would take days."""
    for share in (0.001, 0.5, 0.999):
        few, many = binomial_tails(10**9, int(10**9 * share), share)
        assert 0.49 < min(few, many) <= max(few, many) < 0.52
