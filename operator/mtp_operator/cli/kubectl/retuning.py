"""Whether a model can be measured again, and what that takes: the one thing that this command changes."""

from mtp_operator.api.model import MTPModel
from mtp_operator.api.run import MTPTuningRun
from mtp_operator.api.spec import TuningMode
from mtp_operator.report.words import minutes

MOST_REQUESTS = 1_000_000


def why_not(model: MTPModel) -> str | None:
    """Why a request would measure nothing; None where it would."""
    spec = model.spec
    if spec.tuning.suspend:
        return "tuning is suspended (spec.tuning.suspend: true)"
    if not spec.is_measured and spec.tuning.mode is TuningMode.DISABLED:
        return "tuning is disabled (spec.tuning.mode: Disabled)"
    if not spec.is_measured:
        return f"n_spec={spec.speculation.n_spec} is pinned (spec.speculation.nSpec)"
    if spec.tuning.retune_request < MOST_REQUESTS:
        return None
    return f"spec.tuning.retuneRequest is {MOST_REQUESTS}, its largest value"


def words(model: MTPModel, last: MTPTuningRun | None, *, dry_run: bool) -> str:
    """What a request brings about.

    Args:
        model: as it was before.
        last: its latest run, if it has one.
        dry_run: nothing was changed.
    """
    request = model.spec.tuning.retune_request + 1
    done = "would be" if dry_run else "is"
    said = f"spec.tuning.retuneRequest {done} {request}: everything is measured again"
    if last is not None and last.status.counters.gpu_seconds:
        counters = last.status.counters
        ended = counters.measured + counters.failed
        said += f"; the last run took {ended} trials and {minutes(counters.gpu_seconds)} of GPU time"
    if last is not None and last.status.verdict is None:
        said += f"; {last.metadata.name}, which is running, ends"
    return f"{said}. A manifest in Git should state the same number."
