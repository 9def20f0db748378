"""Evidence outlives its run: a run begins with the trials of other runs that measured the same, on the same node."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from mtp_operator.api.run import MAX_ADOPTED, ArmState, ArmStatus, MTPTuningRun, MTPTuningRunStatus
from mtp_operator.api.run import Observed as ObservedByTrial
from mtp_operator.reconcile import arm_conversion
from mtp_operator.reconcile.losslessness import judged_outputs
from mtp_operator.reconcile.records import Node, Observed
from mtp_operator.reconcile.views import view_run
from mtp_operator.resources.labels import MEASUREMENT_LABEL, measurement_label

from .status import is_ours

NO_EVIDENCE: Final = frozenset({"Superseded", "LostTooOften", "Unmeasurable"})
"""Reasons of failures that say nothing of n: given up, lost with the node, without a figure for another objective."""


def adopt(run: MTPTuningRun, observed: Observed, *, nodes_readable: bool) -> MTPTuningRunStatus:
    """The status of a run that begins, with the trials that it need not make.

    n is never compared across nodes: of several that measured the same, the one with the most trials is taken, and the
    run stays there. What a trial sees of its own may still set them aside.

    Args:
        run: the run, which has no arms yet.
        observed: everything of this model's name, and the runs of its neighbours.
        nodes_readable: whether the operator may read nodes.
    """
    by_place: dict[ObservedByTrial, dict[str, ArmStatus]] = {}
    for source in _sources(run, observed):
        place = source.status.observed
        if place is None or (nodes_readable and not _is_there(place, observed.nodes)):
            continue
        by_place.setdefault(place, {}).update(_evidence(source, run))
    for place, arms in sorted(by_place.items(), key=lambda one: _worth(one[1].values()), reverse=True):
        taken = _numbered(_with_baseline(arms.values()))
        if taken:
            return run.status.replace(
                arms=judged_outputs(taken),
                observed=place,
                fingerprint=arm_conversion.fingerprint(run.spec.settings_hash, place),
            )
    return run.status


def _sources(run: MTPTuningRun, observed: Observed) -> Iterator[MTPTuningRun]:
    """Other runs that measured the same, the newest last. Whoever asks to measure again asks for no older figures."""
    wanted, asked_again = run.spec.measurement_hash(), run.spec.request
    known = [one for one in observed.runs if one.spec.request == asked_again]
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
            if body["metadata"]["labels"][MEASUREMENT_LABEL] == label:
                yield view_run(body)
        except Exception:  # noqa: S112 (whatever somebody has put into an object)
            continue


def _is_there(place: ObservedByTrial, nodes: Mapping[str, Node]) -> bool:
    """Whether the node is there, with the GPU and the driver that it had."""
    node = nodes.get(place.node)
    return node is not None and arm_conversion.gpu_of(node) == (place.gpu_product, place.driver_version)


def _evidence(source: MTPTuningRun, run: MTPTuningRun) -> Mapping[str, ArmStatus]:
    """What a run measured that another one asks, by the Job that did; nothing of a run whose figures cannot be."""
    objective, levels = run.spec.objective, run.spec.workload.levels
    found = {}
    try:
        for arm in filter(lambda one: _is_evidence(one, run), judged_outputs(source.status.arms)):
            arm_conversion.tuner_arms((arm,), objective, run.spec.speculation.method)
            origin = arm.adopted_from or source.metadata.name
            weighted = arm_conversion.weighted_arm(arm, levels)
            found[arm.job_uid or arm.job_name] = weighted.replace(adopted_from=origin)
    except (ArithmeticError, LookupError, ValueError):
        return {}
    return found


def _is_evidence(arm: ArmStatus, run: MTPTuningRun) -> bool:
    """Whether an arm of another run answers what this one asks."""
    if arm.n_spec > run.spec.max_n_spec:
        return False
    if arm.state is ArmState.FAILED:
        return arm.reason not in NO_EVIDENCE
    return arm.state is ArmState.MEASURED and all(
        arm_conversion.unmeasured_arm(level, run.spec.objective) is None for level in arm.levels
    )


def _with_baseline(arms: Iterable[ArmStatus]) -> list[ArmStatus]:
    """The arms, without failures where n=0 did not work either: it may have been no fault of theirs."""
    arms = list(arms)
    has_baseline = any(arm.n_spec == 0 and arm.state is ArmState.MEASURED for arm in arms)
    return [arm for arm in arms if arm.state is ArmState.MEASURED or (has_baseline and arm.n_spec > 0)]


def _worth(arms: Iterable[ArmStatus]) -> tuple[int, str]:
    arms = list(arms)
    return len(arms), max((arm.started_at or "" for arm in arms), default="")


def _numbered(arms: Sequence[ArmStatus]) -> tuple[ArmStatus, ...]:
    """The newest arms, in the order in which they were booted, as boots of one run."""
    boots: dict[int, int] = {}
    taken = []
    for arm in sorted(arms, key=lambda arm: (arm.started_at or "", arm.job_name))[-MAX_ADOPTED:]:
        boot = boots.get(arm.n_spec, 0)
        boots[arm.n_spec] = boot + 1
        taken.append(arm.replace(boot=boot))
    return tuple(taken)
