"""What a person wants to be told, derived from the change of a status."""

from mtp_operator.api.conditions import Condition, ConditionType, shorten
from mtp_operator.api.model_status import MTPModelStatus
from mtp_operator.api.run import MTPTuningRunStatus, TrialState, TrialStatus
from mtp_operator.api.trial_documents import TOO_SLOW
from mtp_operator.api.verdicts import CHOICES, VerdictType

from .observed import Reference
from .obstacles import TRIAL_LOST, Obstacle
from .plan import EventDraft


def start_events(subject: Reference, before: MTPTuningRunStatus, run_name: str) -> list[EventDraft]:
    """The start of a run, before anything else is said of it."""
    if before.started_at is not None:
        return []
    return [EventDraft(subject, "Normal", "TuningStarted", f"Tuning started: MTPTuningRun {run_name}")]


def trial_events(subject: Reference, before: MTPTuningRunStatus, after: MTPTuningRunStatus) -> list[EventDraft]:
    """What became of the trials between two statuses of a run."""
    known = {trial.number: trial for trial in before.trials}
    events = []
    adopted = [trial for trial in after.trials if trial.adopted_from is not None and trial.number not in known]
    if adopted:
        runs = ", ".join(sorted({f"MTPTuningRun {trial.adopted_from}" for trial in adopted}))
        number = f"{len(adopted)} trials" if len(adopted) > 1 else "1 trial"
        said = f"{number} of {runs} reused: they measured the same engine and load on the same node"
        events.append(EventDraft(subject, "Normal", "TrialsAdopted", shorten(said)))
    for trial in after.trials:
        older = known.get(trial.number)
        if trial in adopted or (older is not None and (older.state, older.attempt) == (trial.state, trial.attempt)):
            continue
        named = f"trial {trial.number} ({trial.candidate})"
        match trial.state:
            case TrialState.PLANNED if trial.attempt == 0:
                events.append(EventDraft(subject, "Normal", "TrialPlanned", f"Measuring {trial.rationale}"))
            case TrialState.PLANNED:
                reason, how = _repeated(trial, older)
                events.append(EventDraft(subject, "Warning", reason, f"{named}: {trial.message}; retrying{how}"))
            case TrialState.MEASURED:
                accepted = f", acceptance length {trial.acceptance_length}" if trial.acceptance_length else ""
                said = f"{named}: {trial.output_tokens_per_second} tokens/s{accepted}"
                events.append(EventDraft(subject, "Normal", "TrialMeasured", said))
            case TrialState.FAILED:
                said = f"{named}: {trial.reason}: {trial.message}"
                events.append(EventDraft(subject, "Warning", "TrialFailed", said))
            case TrialState.INVALIDATED:
                events.append(EventDraft(subject, "Warning", "TrialInvalidated", f"{named}: {trial.message}"))
    return events


def _repeated(trial: TrialStatus, older: TrialStatus | None) -> tuple[str, str]:
    """Why a trial is planned again, as one word, and how else it is measured then."""
    if trial.drifted > (older.drifted if older is not None else 0):
        return "TrialDrifted", ""
    if trial.reason == TOO_SLOW and (older is None or older.reason != TOO_SLOW):
        return "TrialTooSlow", " with twice the time"
    return TRIAL_LOST, ""


def verdict_events(subject: Reference, before: MTPTuningRunStatus, after: MTPTuningRunStatus) -> list[EventDraft]:
    """The end of a run, if it has just come."""
    verdict = after.verdict
    if verdict is None or before.verdict is not None:
        return []
    if verdict.type in CHOICES:
        return [EventDraft(subject, "Normal", "NSpecChosen", f"n_spec={verdict.n_spec}: {verdict.message}")]
    if verdict.type is VerdictType.SUPERSEDED:
        return [EventDraft(subject, "Normal", "TuningSuperseded", verdict.message)]
    return [EventDraft(subject, "Warning", "TuningFailed", verdict.message)]


def model_events(
    subject: Reference, before: MTPModelStatus, after: MTPModelStatus, obstacle: Obstacle | None
) -> tuple[EventDraft, ...]:
    """Weights that have come, and what newly keeps them or a tuning from making progress."""
    events = []
    weights = after.weights
    if weights is not None and weights.fetched and (before.weights is None or not before.weights.fetched):
        message = next(one.message for one in after.conditions if one.type == ConditionType.WEIGHTS_READY)
        events.append(EventDraft(subject, "Normal", "WeightsReady", message))
    # A loss is already an Event of its trial.
    is_new = obstacle is not None and obstacle.reason != TRIAL_LOST
    if obstacle is not None and is_new and _ready_reason(before) != obstacle.reason == _ready_reason(after):
        events.append(EventDraft(subject, "Warning", obstacle.reason, obstacle.message))
    return tuple(events)


def serving_events(
    subject: Reference, before: MTPModelStatus, after: MTPModelStatus, *, trouble: bool
) -> tuple[EventDraft, ...]:
    """What newly is served, and what newly keeps it from being so."""
    events = []
    if after.served_n_spec is not None and after.served_n_spec != before.served_n_spec:
        events.append(EventDraft(subject, "Normal", "NSpecServed", f"n_spec={after.served_n_spec} at {after.url}"))
    now, then = (_condition(status, ConditionType.SERVING) for status in (after, before))
    if trouble and now is not None and (then is None or then.reason != now.reason):
        events.append(EventDraft(subject, "Warning", now.reason, now.message))
    return tuple(events)


def _ready_reason(status: MTPModelStatus) -> str:
    ready = _condition(status, ConditionType.READY)
    return ready.reason if ready is not None else ""


def _condition(status: MTPModelStatus, type_: ConditionType) -> Condition | None:
    return next((one for one in status.conditions if one.type == type_), None)
