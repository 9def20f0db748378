"""Reasons of verdicts, and Events."""

from typing import Final

from .entry import Place, Reason, Who

_VERDICT: Final = (Place.MODEL, Place.RUN)
_EVENT: Final = (Place.EVENT,)

VERDICTS: Final = (
    Reason(
        "Selected",
        _VERDICT,
        Who.NOBODY,
        "An n_spec above 0 is proven to be faster than the baseline. It is served.",
        "Nothing.",
        "n_spec=3 is 2.50x (95% CI 2.22-2.93) as fast as n_spec=0",
    ),
    Reason(
        "SpeculationOff",
        _VERDICT,
        Who.NOBODY,
        "No n_spec is faster than the baseline: n_spec=0 is served, speculation is off.",
        "Nothing. Another drafter, other concurrency levels or another GPU may give another result.",
        "Speculation is off: no n_spec is faster than n_spec=0; the best other one, n_spec=3, reaches 0.71x (95% CI "
        "0.65-0.88)",
    ),
    Reason(
        "Inconclusive",
        _VERDICT,
        Who.AUTHOR,
        "Within the budget no n_spec is proven to be faster. The lowest n_spec is served.",
        "Raise spec.tuning.budget.maxTrials: finished trials are kept. Reduce other load on the node.",
        "Not proven: n_spec=1 measured 1.03x (95% CI 0.93-1.14). Keeping n_spec=0",
    ),
    Reason(
        "BudgetExhausted",
        _VERDICT,
        Who.AUTHOR,
        "The budget ended the run although another trial was expected to improve the choice by more than 1%.",
        "Raise spec.tuning.budget: the run continues with the trials that it has.",
        "Stopped by the budget; next would be n_spec=2: predicted 1.03x (95% CI 0.92-1.17), expected to improve the "
        "choice by 2.4%",
    ),
    Reason(
        "BaselineDrifted",
        _VERDICT,
        Who.ADMINISTRATOR,
        "Trials of the baseline differ by more than noise explains, so that no comparison with it holds.",
        "Look for other load, power caps or thermal throttling on the node, then run `kubectl mtp retune NAME`.",
        "The baseline, n_spec=0, drifted by -12.3% from its first trial to a later one, which widens the interval",
    ),
    Reason(
        "Failed",
        _VERDICT,
        Who.AUTHOR,
        "The run ended without a choice, mostly because the baseline could not be measured.",
        "Read the trials: `kubectl mtp explain NAME`. Fix the cause, then increase spec.tuning.retuneRequest to retry.",
        "n_spec=0, the baseline, failed 3 times (EngineCrashed)",
    ),
    Reason(
        "Superseded",
        (*_VERDICT, Place.TRIAL),
        Who.NOBODY,
        "The model's spec changed while the run was under way; another run, or none, answers the new spec.",
        "Nothing. Its finished trials are used again where they measured the same.",
        "the model's spec has changed since the run began",
    ),
)

EVENTS: Final = (
    Reason(
        "WeightsReady",
        _EVENT,
        Who.NOBODY,
        "All weights have been downloaded and verified.",
        "Nothing.",
        "hf://Qwen/Qwen3.6-27B-FP8 at 0123456789ab: 28.9 GB on PVC qwen-weights",
    ),
    Reason(
        "TuningStarted",
        _EVENT,
        Who.NOBODY,
        "A run has begun.",
        "Follow it with `kubectl mtp watch NAME`.",
        "Tuning started: MTPTuningRun qwen-84b1df9796",
    ),
    Reason(
        "TrialsAdopted",
        _EVENT,
        Who.NOBODY,
        "The run begins with trials of earlier runs that measured the same on the same node.",
        "Nothing. Increase spec.tuning.retuneRequest to measure everything again.",
        "4 trials of MTPTuningRun qwen-84b1df9796 reused",
    ),
    Reason(
        "TrialPlanned", _EVENT, Who.NOBODY, "A trial is about to start.", "Nothing.", "Measuring n_spec=0, the baseline"
    ),
    Reason(
        "TrialLost",
        (Place.EVENT, Place.MODEL, Place.RUN),
        Who.OPERATOR,
        "A trial ended through no fault of its own: its pod was evicted, deleted, or its node went away.",
        "Nothing at first. After several losses in a row, find out what removes pods from the node.",
        "n_spec=3: attempt 0 was lost: its pod was deleted; retrying",
    ),
    Reason(
        "TrialDrifted",
        _EVENT,
        Who.OPERATOR,
        "Throughput sank while the trial was measured; the trial is repeated once.",
        "Nothing at first. If it happens again, the trial fails with Unstable.",
        "n_spec=3: throughput sank by 9% while concurrency 1 was measured; retrying",
    ),
    Reason(
        "TrialTooSlow",
        _EVENT,
        Who.OPERATOR,
        "A concurrency level did not complete enough passes in its time; the trial is repeated with twice the time.",
        "Nothing at first. If it happens again, the trial fails with TooSlow.",
        "trial 3 (mtp-3): 1 of 4 passes in 300 s; retrying with twice the time",
    ),
    Reason(
        "TrialMeasured",
        _EVENT,
        Who.NOBODY,
        "A trial has a result.",
        "Nothing.",
        "trial 3 (mtp-3): 115.3 tokens/s, acceptance length 3.52",
    ),
    Reason(
        "TrialFailed",
        _EVENT,
        Who.AUTHOR,
        "A trial failed; its n_spec is not a candidate unless another trial of it succeeds.",
        "Look up the reason that the message states: `kubectl mtp explain REASON`.",
        "trial 2 (mtp-8): OOMKilled: the engine exited with code 137",
    ),
    Reason(
        "TrialInvalidated",
        _EVENT,
        Who.NOBODY,
        "A finished trial no longer counts, because the node, image, driver or prompts have changed since.",
        "Nothing. The run measures again.",
        "trial 3 (mtp-3): node gpu-03 is gone: n_spec is never compared across nodes",
    ),
    Reason(
        "NSpecChosen",
        _EVENT,
        Who.NOBODY,
        "A run has its verdict and names an n_spec.",
        "Read the evidence: `kubectl mtp status NAME`.",
        "n_spec=3: n_spec=3 is 2.50x (95% CI 2.22-2.93) as fast as n_spec=0",
    ),
    Reason(
        "NSpecServed",
        _EVENT,
        Who.NOBODY,
        "All ready replicas serve this n_spec now.",
        "Nothing.",
        "n_spec=3 at http://qwen.llm.svc:8000/v1",
    ),
    Reason(
        "TuningFailed",
        _EVENT,
        Who.AUTHOR,
        "A run ended without a choice.",
        "Read the trials: `kubectl mtp explain NAME`. Fix the cause, then increase spec.tuning.retuneRequest to retry.",
        "n_spec=0, the baseline, failed 3 times (EngineCrashed)",
    ),
    Reason(
        "TuningSuperseded",
        _EVENT,
        Who.NOBODY,
        "A run ended because the model's spec has changed since the run began.",
        "Nothing.",
        "the model's spec has changed since the run began",
    ),
)
