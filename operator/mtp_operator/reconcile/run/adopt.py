"""Evidence outlives its run: a run begins with the trials of other runs that measured the same, on the same node."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from mtp_operator.api.run import MAX_ADOPTED, MTPTuningRun, MTPTuningRunStatus, ObservedByTrial, TrialState, TrialStatus
from mtp_operator.reconcile import trial_conversion
from mtp_operator.reconcile.losslessness import verify_outputs
from mtp_operator.reconcile.observed import Node, Observed
from mtp_operator.reconcile.views import view_run
from mtp_operator.resources.labels import MEASUREMENT_LABEL, measurement_label

from .status import is_ours

NO_EVIDENCE: Final = frozenset({"Superseded", "RetryLimitReached", "Unmeasurable"})
"""Reasons of failures that say nothing of n: given up, lost with the node, without a figure for another objective."""


def adopt(run: MTPTuningRun, observed: Observed, *, nodes_readable: bool) -> MTPTuningRunStatus:
    """The status of a run that begins, with the trials that it need not make.

    n is never compared across nodes: of several that measured the same, the one with the most trials is taken, and the
    run stays there. What a trial sees of its own may still set them aside.

    Args:
        run: the run, which has no trials yet.
        observed: everything of this model's name, and the runs of its neighbours.
        nodes_readable: whether the operator may read nodes.
    """
    by_place: dict[ObservedByTrial, dict[str, TrialStatus]] = {}
    for source in _sources(run, observed):
        place = source.status.observed
        if place is None or (nodes_readable and not _is_there(place, observed.nodes)):
            continue
        by_place.setdefault(place, {}).update(_evidence(source, run))
    for place, trials in sorted(by_place.items(), key=lambda one: _worth(one[1].values()), reverse=True):
        taken = _numbered(_with_baseline(trials.values()))
        if taken:
            return run.status.replace(
                trials=verify_outputs(taken),
                observed=place,
                fingerprint=trial_conversion.fingerprint(run.spec.settings_hash, place),
            )
    return run.status


def _sources(run: MTPTuningRun, observed: Observed) -> Iterator[MTPTuningRun]:
    """Other runs that measured the same, the newest last. Whoever asks to measure again asks for no older figures."""
    wanted, asked_again = run.spec.measurement_hash(), run.spec.retune_request
    known = [one for one in observed.runs if one.spec.retune_request == asked_again]
    if not asked_again:
        known += _relatives(wanted, observed)
    for one in sorted(known, key=lambda one: (one.metadata.creation_timestamp, one.metadata.name)):
        is_another = one.metadata.uid != run.metadata.uid
        # Two versions of the bench may measure differently.
        is_same = one.spec.bench_image == run.spec.bench_image and one.spec.measurement_hash() == wanted
        if is_another and is_same and is_ours(one):
            yield one


def _relatives(measurement_hash: str, observed: Observed) -> Iterator[MTPTuningRun]:
    """Runs of other models that say that they measured the same. One that cannot be read is not evidence."""
    label = measurement_label(measurement_hash)
    for body in observed.relatives:
        try:
            if body["metadata"]["labels"][MEASUREMENT_LABEL] == label and _has_finished_trials(body):
                yield view_run(body)
        except Exception:  # noqa: S112 (whatever somebody has put into an object)
            continue


def _has_finished_trials(body: Mapping[str, Any]) -> bool:
    """Whether it is worth its reading: hundreds of models that begin at once would read each other's runs in vain."""
    return any(trial["state"] in (TrialState.MEASURED, TrialState.FAILED) for trial in body["status"]["trials"])


def _is_there(place: ObservedByTrial, nodes: Mapping[str, Node]) -> bool:
    """Whether the node is there, with the GPU and the driver that it had."""
    node = nodes.get(place.node)
    return node is not None and trial_conversion.gpu_of(node) == (place.gpu_product, place.driver_version)


def _evidence(source: MTPTuningRun, run: MTPTuningRun) -> Mapping[str, TrialStatus]:
    """What a run measured that another one asks, by the Job that did; nothing of a run whose figures cannot be."""
    objective, levels = run.spec.objective, run.spec.workload.levels
    found = {}
    try:
        for trial in filter(lambda one: _is_evidence(one, run), verify_outputs(source.status.trials)):
            trial_conversion.tuner_arms((trial,), objective, run.spec.speculation.method)
            origin = trial.adopted_from or source.metadata.name
            weighted = trial_conversion.weighted_trial(trial, levels)
            found[trial.job_uid or trial.job_name] = weighted.replace(adopted_from=origin)
    except (ArithmeticError, LookupError, ValueError):
        return {}
    return found


def _is_evidence(trial: TrialStatus, run: MTPTuningRun) -> bool:
    """Whether a trial of another run answers what this one asks."""
    if trial.n_spec > run.spec.max_n_spec:
        return False
    if trial.state is TrialState.FAILED:
        return trial.reason not in NO_EVIDENCE
    return trial.state is TrialState.MEASURED and all(
        trial_conversion.unmeasured_level(level, run.spec.objective) is None for level in trial.levels
    )


def _with_baseline(trials: Iterable[TrialStatus]) -> list[TrialStatus]:
    """The trials, without failures where n=0 did not work either: it may have been no fault of theirs."""
    trials = list(trials)
    has_baseline = any(trial.n_spec == 0 and trial.state is TrialState.MEASURED for trial in trials)
    return [trial for trial in trials if trial.state is TrialState.MEASURED or (has_baseline and trial.n_spec > 0)]


def _worth(trials: Iterable[TrialStatus]) -> tuple[int, str]:
    trials = list(trials)
    return len(trials), max((trial.started_at or "" for trial in trials), default="")


def _numbered(trials: Sequence[TrialStatus]) -> tuple[TrialStatus, ...]:
    """The newest trials, in the order in which they began, as trials of one run."""
    boots: Counter[str] = Counter()
    taken: list[TrialStatus] = []
    for trial in sorted(trials, key=lambda trial: (trial.started_at or "", trial.job_name))[-MAX_ADOPTED:]:
        taken.append(trial.replace(number=len(taken) + 1, repeat=boots[trial.candidate]))
        boots[trial.candidate] += 1
    return tuple(taken)
