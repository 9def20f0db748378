"""What a person wants to be told, derived from the change of a status."""

from mtp_operator.api.conditions import Condition, ConditionType, shorten
from mtp_operator.api.model_status import MTPModelStatus
from mtp_operator.api.run import ArmState, ArmStatus, MTPTuningRunStatus
from mtp_operator.api.trial_documents import TOO_SLOW
from mtp_operator.api.verdicts import CHOICES, VerdictType

from .records import EventDraft, Reference
from .trial import Obstacle


def start_events(about: Reference, before: MTPTuningRunStatus, run_name: str) -> list[EventDraft]:
    """The start of a run, before anything else is said of it."""
    if before.started_at is not None:
        return []
    return [EventDraft(about, "Normal", "TuningStarted", f"the evidence gathers in MTPTuningRun {run_name}")]


def arm_events(about: Reference, before: MTPTuningRunStatus, after: MTPTuningRunStatus) -> list[EventDraft]:
    """What became of the arms between two statuses of a run."""
    known = {(arm.n_spec, arm.boot): arm for arm in before.arms}
    events = []
    adopted = [arm for arm in after.arms if arm.adopted_from is not None and (arm.n_spec, arm.boot) not in known]
    if adopted:
        runs = ", ".join(sorted({f"MTPTuningRun {arm.adopted_from}" for arm in adopted}))
        trials = f"{len(adopted)} trials" if len(adopted) > 1 else "1 trial"
        said = f"{trials} of {runs} taken over: the same engine and load were measured on the same node"
        events.append(EventDraft(about, "Normal", "TrialsAdopted", shorten(said)))
    for arm in after.arms:
        if arm in adopted:
            continue
        older = known.get((arm.n_spec, arm.boot))
        if older is not None and (older.state, older.attempt) == (arm.state, arm.attempt):
            continue
        if arm.state is ArmState.PLANNED and arm.attempt == 0:
            events.append(EventDraft(about, "Normal", "TrialPlanned", f"measuring {arm.why}"))
        elif arm.state is ArmState.PLANNED:
            reason, how = _repeated(arm, older)
            events.append(EventDraft(about, "Warning", reason, f"n={arm.n_spec}: {arm.message}; it is repeated{how}"))
        elif arm.state is ArmState.MEASURED:
            accepted = f", {arm.acceptance_length} tokens per step" if arm.acceptance_length else ""
            said = f"n={arm.n_spec}: {arm.output_tokens_per_second} tokens/s{accepted}"
            events.append(EventDraft(about, "Normal", "ArmMeasured", said))
        elif arm.state is ArmState.FAILED:
            events.append(EventDraft(about, "Warning", "ArmFailed", f"n={arm.n_spec}: {arm.reason}: {arm.message}"))
        elif arm.state is ArmState.SET_ASIDE:
            events.append(EventDraft(about, "Warning", "ArmSetAside", f"n={arm.n_spec}: {arm.message}"))
    return events


def _repeated(arm: ArmStatus, older: ArmStatus | None) -> tuple[str, str]:
    """Why an arm is planned again, as one word, and how else it is measured then."""
    if arm.drifted > (older.drifted if older is not None else 0):
        return "TrialDrifted", ""
    if arm.reason == TOO_SLOW and (older is None or older.reason != TOO_SLOW):
        return "TrialTooSlow", " with twice the time"
    return "TrialLost", ""


def verdict_events(about: Reference, before: MTPTuningRunStatus, after: MTPTuningRunStatus) -> list[EventDraft]:
    """The end of a run, if it has just come."""
    verdict = after.verdict
    if verdict is None or before.verdict is not None:
        return []
    if verdict.type in CHOICES:
        return [EventDraft(about, "Normal", "NSpecChosen", f"n_spec={verdict.n_spec}: {verdict.message}")]
    if verdict.type is VerdictType.SUPERSEDED:
        return [EventDraft(about, "Normal", "TuningSuperseded", verdict.message)]
    return [EventDraft(about, "Warning", "TuningFailed", verdict.message)]


def model_events(
    about: Reference, before: MTPModelStatus, after: MTPModelStatus, obstacle: Obstacle | None
) -> tuple[EventDraft, ...]:
    """Weights that have come, and what newly keeps them or a tuning from making progress."""
    events = []
    weights = after.weights
    if weights is not None and weights.fetched and (before.weights is None or not before.weights.fetched):
        message = next(one.message for one in after.conditions if one.type == ConditionType.MODEL_CACHED)
        events.append(EventDraft(about, "Normal", "ModelCached", message))
    if obstacle is not None and _ready_reason(before) != obstacle.reason == _ready_reason(after):
        events.append(EventDraft(about, "Warning", obstacle.reason, obstacle.message))
    return tuple(events)


def serving_events(
    about: Reference, before: MTPModelStatus, after: MTPModelStatus, *, trouble: bool
) -> tuple[EventDraft, ...]:
    """What newly is served, and what newly keeps it from being so."""
    events = []
    if after.served_n_spec is not None and after.served_n_spec != before.served_n_spec:
        events.append(EventDraft(about, "Normal", "NSpecServed", f"n_spec={after.served_n_spec} at {after.url}"))
    now, then = (_condition(status, ConditionType.SERVING) for status in (after, before))
    if trouble and now is not None and (then is None or then.reason != now.reason):
        events.append(EventDraft(about, "Warning", now.reason, now.message))
    return tuple(events)


def _ready_reason(status: MTPModelStatus) -> str:
    ready = _condition(status, ConditionType.READY)
    return ready.reason if ready is not None else ""


def _condition(status: MTPModelStatus, type_: ConditionType) -> Condition | None:
    return next((one for one in status.conditions if one.type == type_), None)
