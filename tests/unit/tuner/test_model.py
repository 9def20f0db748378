"""The model of the curve: counters, evidence, the mixture and what is asked of it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtp_operator.tuner.beliefs import gain_by_proof, knowledge_gradient, probability_of_loss, speedup
from mtp_operator.tuner.curve import (
    Observations,
    Posterior,
    _cliffs,
    _log_evidence,
    infer,
    thinned,
)
from mtp_operator.tuner.tokens_per_step import extended, geometric, guessed_tokens_per_step, tokens_per_step


def test_a_rate_is_spread_as_constant_conditional_acceptance() -> None:
    shares = geometric(0.6, 4)

    assert np.mean(shares) == pytest.approx(0.6)
    assert shares[1:] / shares[:-1] == pytest.approx(shares[0])


def test_positions_beyond_the_counters_fall_on_at_the_same_ratio() -> None:
    assert extended(np.array([0.8, 0.4]), 4) == pytest.approx([0.8, 0.4, 0.2, 0.1])
    assert extended(np.array([0.8, 0.4]), 1) == pytest.approx([0.8])
    assert extended(np.array([0.0, 0.0]), 3) == pytest.approx([0, 0, 0])
    assert extended(np.array([0.3]), 3) == pytest.approx([0.3, 0.09, 0.027])


def test_tokens_per_step_are_exact_where_counters_were_read_and_uncertain_between() -> None:
    grid = np.arange(9.0)
    at_8 = np.array([0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    at_4 = at_8[:4] * 0.9

    found = tokens_per_step(grid, {8: at_8, 4: at_4})

    sd = np.sqrt(np.diag(found.covariance))
    assert np.exp(found.log_mean[[0, 4, 8]]) == pytest.approx([1, 1 + at_4.sum(), 1 + at_8.sum()])
    assert sd[[0, 4, 8]] == pytest.approx(0, abs=1e-9)
    assert (sd[[1, 2, 3, 5, 6, 7]] > 0.01).all()


def test_counters_that_disagree_more_widen_the_prediction() -> None:
    grid = np.arange(9.0)
    at_8 = np.full(8, 0.6)

    agreeing = tokens_per_step(grid, {8: at_8, 4: at_8[:4]})
    disagreeing = tokens_per_step(grid, {8: at_8, 4: at_8[:4] * 0.7})

    assert disagreeing.covariance[6, 6] > 2 * agreeing.covariance[6, 6]


@given(st.lists(st.integers(0, 32), min_size=1, max_size=13, unique=True))
@settings(max_examples=30, deadline=None)
def test_cliffs_are_only_expected_to_lengthen_a_step(n_specs: list[int]) -> None:
    grid = sorted(n_specs)

    mean, covariance, prior = _cliffs(tuple(float(n - grid[0]) for n in grid))

    assert prior.sum() == pytest.approx(1)
    assert (np.diff(mean, axis=0) >= 0).all()
    assert covariance.shape == (len(grid), len(grid), len(prior))
    assert np.diagonal(covariance).min() >= 0


def test_the_evidence_is_that_of_a_normal_distribution() -> None:
    random = np.random.default_rng(0)
    roots = random.normal(size=(7, 4, 4))
    covariances = roots @ roots.transpose(0, 2, 1) + np.eye(4)
    residual = random.normal(size=(4, 1))

    found = _log_evidence(covariances.transpose(1, 2, 0), residual)

    for covariance, value in zip(covariances, found, strict=True):
        expected = -0.5 * (
            residual[:, 0] @ np.linalg.solve(covariance, residual[:, 0]) + np.linalg.slogdet(covariance)[1]
        )
        assert value == pytest.approx(expected)


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=2000))
@settings(max_examples=30, deadline=None)
def test_thinning_keeps_the_heavy_and_the_sum_of_the_light(raw: list[float]) -> None:
    weights = np.array(raw) / sum(raw)

    kept, chosen = thinned(weights, 50)

    heavy = weights >= 1 / 50
    assert len(chosen) <= 101
    assert set(np.flatnonzero(heavy)) <= set(chosen)
    assert kept.sum() == pytest.approx(1)
    assert kept[heavy[chosen]].sum() == pytest.approx(weights[heavy].sum(), abs=1 / 50)


def seen(index: list[int], log_speed: list[float], boots: list[float], scatter: float = 0.0) -> Observations:
    return Observations(
        index=np.array(index),
        log_speed=np.array(log_speed),
        boots=np.array(boots),
        scatter=scatter,
        window_variance=np.full(len(index), 1e-6),
    )


def test_without_counters_drafters_are_poor_to_good_and_even_a_good_one_knows_less_the_further_ahead() -> None:
    poor, middling, good = (np.exp(one.log_mean) for one in guessed_tokens_per_step(np.arange(9.0)))

    assert poor[0] == middling[0] == good[0] == 1
    assert poor[8] < middling[8] < good[8] < 9
    conditional = np.diff(good)[1:] / np.diff(good)[:-1]
    assert conditional[-1] < 0.95 * conditional[0]


def test_boots_that_agree_are_believed_and_boots_that_scatter_are_not() -> None:
    grid = np.array([0.0, 4.0])
    tokens = guessed_tokens_per_step(grid)

    quiet = infer(grid, tokens, seen([0, 1], [0, 0.5], [3, 3], scatter=1e-6))
    noisy = infer(grid, tokens, seen([0, 1], [0, 0.5], [3, 3], scatter=0.02))

    assert speedup(quiet, 1).high / speedup(quiet, 1).low < 1.04
    assert speedup(noisy, 1).high / speedup(noisy, 1).low > 1.17
    assert speedup(quiet, 1).estimate == pytest.approx(math.exp(0.5), rel=0.01)


def mixture(means: list[float], sd: float, weights: list[float]) -> Posterior:
    """The baseline at 0 for sure; a point whose log speed is a mixture."""
    covariance = np.array([[1e-12, 0], [0, sd**2]])
    return Posterior(
        weights=np.array(weights),
        means=np.array([[0.0, mean] for mean in means]),
        covariances=np.array([covariance] * len(means)),
        boot_noise=np.full(len(means), 1e-3),
    )


def test_interval_and_loss_are_those_of_a_normal_where_there_is_one_hypothesis() -> None:
    posterior = mixture([0.1], 0.05, [1.0])

    interval = speedup(posterior, 1)

    assert (math.log(interval.low), math.log(interval.high)) == pytest.approx((0.1 - 0.098, 0.1 + 0.098), abs=1e-4)
    assert probability_of_loss(posterior, 1) == pytest.approx(0.02275, abs=1e-4)


def test_the_knowledge_gradient_is_the_expected_improvement_where_a_boot_tells_all() -> None:
    normal = mixture([0.0], 0.1, [1.0])
    surely_worse = mixture([-1.0], 0.1, [1.0])
    long_shot = mixture([-0.05, 0.3], 0.001, [0.9, 0.1])

    assert knowledge_gradient(normal, 1, [0]) == pytest.approx(0.1 / math.sqrt(2 * math.pi), rel=0.1)
    assert knowledge_gradient(surely_worse, 1, [0]) == pytest.approx(0, abs=1e-9)
    assert knowledge_gradient(long_shot, 1, [0]) == pytest.approx(0.1 * 0.3, rel=0.2)


def test_a_proof_is_expected_to_gain_the_advantage_where_the_machine_is_quiet_and_little_where_it_is_noisy() -> None:
    posterior = mixture([0.05], 0.01, [1.0])
    quiet = replace(posterior, boot_noise=np.array([0.001]))
    noisy = replace(posterior, boot_noise=np.array([0.09]))
    either = replace(mixture([0.05, 0.05], 0.01, [0.5, 0.5]), boot_noise=np.array([0.001, 0.09]))

    gains = [gain_by_proof(one, 1, required_z=2.0, spread=0.7) for one in (quiet, noisy, either)]

    assert gains[0] == pytest.approx(0.05, abs=1e-4)
    assert 0 < gains[1] < 0.02
    assert gains[2] == pytest.approx((gains[0] + gains[1]) / 2)


def test_a_proof_that_convinces_by_luck_alone_gains_its_share_of_the_luck() -> None:
    posterior = replace(mixture([0.0], 0.01, [1.0]), boot_noise=np.array([0.03]))

    assert gain_by_proof(posterior, 1, required_z=0.0, spread=1.0) == pytest.approx(
        0.03 / math.sqrt(2 * math.pi), abs=1e-6
    )
