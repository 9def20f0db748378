"""The policy of a model's weights: they are fetched once, by one Job, before anything else is tried."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Self

from mtp_operator.api.fetch import FetchFailure, FetchProgress, FetchResult, FetchStage, hub_parts
from mtp_operator.api.model import MTPModel
from mtp_operator.api.run import RunSettings
from mtp_operator.api.weights_source import FetchedSource, WeightsSource, WeightsStatus
from mtp_operator.measures.digits import duration
from mtp_operator.resources.fetch_job import fetch_job, fetch_job_name, fetched_sources, request_hash
from mtp_operator.resources.weights_volumes import claim_name, new_claim, sources

from . import obstacles
from .observed import Job, Kind, Lane, Observed, OperatorSettings, Pod, Reference
from .plan import Action, Create, Delete, Ensure, Plan, ProgressRead

FETCHING = "Fetching"


@dataclass(frozen=True)
class WeightsPlan:
    """How the weights stand, and what they need."""

    cached: bool
    """Whether they are where engines look for them."""
    reason: str
    message: str
    status: WeightsStatus | None = None
    obstacle: obstacles.Obstacle | None = None
    """What keeps the fetch from going on; `reason` and `message` say it too."""
    plan: Plan = field(default_factory=Plan)

    def and_then(self, *actions: Action | None, wake_after_seconds: float | None = None) -> Self:
        """The same, with more to do."""
        return replace(
            self, plan=Plan.all(self.plan, Plan.of(Lane.WEIGHTS, *actions, wake_after_seconds=wake_after_seconds))
        )

    def kept_from(self, obstacle: obstacles.Obstacle | None) -> Self:
        """The same, with what keeps it from making progress, if anything does."""
        if obstacle is None:
            return self
        return replace(self, obstacle=obstacle, reason=obstacle.reason, message=obstacle.message)


def fetched(model: MTPModel) -> tuple[FetchedSource, ...] | None:
    """What has been fetched of what the model asks for now; None where something is still to be fetched."""
    return (_status(model).fetched or None) if fetched_sources(model) else ()


def advance(
    model: MTPModel,
    requested: RunSettings,
    observed: Observed,
    settings: OperatorSettings,
    now: datetime,
    *,
    may_fetch: bool,
) -> WeightsPlan:
    """The next step towards the model's weights.

    Args:
        model: the model.
        requested: what it asks for.
        observed: everything of its name.
        settings: the operator's.
        now: the time.
        may_fetch: false where what is fetched could not be used.
    """
    stands = _advance(model, requested, observed, settings, now, may_fetch=may_fetch)
    return stands.kept_from(obstacles.failure(observed, Lane.WEIGHTS))


def _advance(
    model: MTPModel,
    requested: RunSettings,
    observed: Observed,
    settings: OperatorSettings,
    now: datetime,
    *,
    may_fetch: bool,
) -> WeightsPlan:
    jobs = [job for job in observed.jobs if job.run_uid == model.metadata.uid]
    if not fetched_sources(model):
        return _no_download_needed(requested).and_then(*_deletes(model, jobs))
    status = _status(model)
    if status.fetched:
        return _done(status).and_then(*_deletes(model, jobs))
    name = fetch_job_name(model)
    job = next((job for job in jobs if job.name == name), None)
    plan = WeightsPlan(False, FETCHING, f"{_fetching(model)}: not started yet", status)
    if job is not None:
        plan = _judged(model, requested, job, status, observed, settings, now)
    elif may_fetch:
        wanted = model.spec.storage.new_claim if model.spec.storage else None
        plan = plan.and_then(
            Ensure(Kind.CLAIM, new_claim(model, wanted)) if wanted else None,
            Create(Kind.JOB, fetch_job(model, settings.bench_image, settings.fetch_environment, settings.ca_bundle)),
        )
    return plan.and_then(*_deletes(model, (job for job in jobs if job.name != name)))


def _no_download_needed(requested: RunSettings) -> WeightsPlan:
    images = " and ".join(dict.fromkeys(source.image for source in sources(requested) if source.image))
    if images:
        return WeightsPlan(True, "PulledByNode", f"{images}: a node pulls it before it starts the first pod with it")
    return WeightsPlan(True, "NoDownloadNeeded", f"Nothing to download: weights are read from {requested.model.uri}")


def _status(model: MTPModel) -> WeightsStatus:
    """The status of what is asked for now; a new one where the old one speaks of something else."""
    requested, before = request_hash(model), model.status.weights
    if before is not None and before.request_hash == requested:
        return before
    return WeightsStatus(request_hash=requested, claim=claim_name(model) or "")


def _judged(
    model: MTPModel,
    requested: RunSettings,
    job: Job,
    status: WeightsStatus,
    observed: Observed,
    settings: OperatorSettings,
    now: datetime,
) -> WeightsPlan:
    """What became of the Job, or how far it is."""
    pod = max((one for one in observed.pods if one.job_uid == job.uid), key=lambda one: one.created_at, default=None)
    result = _result(model, pod)
    if result is not None and result.failure is None:
        size = result.total_bytes
        return _done(
            WeightsStatus(
                request_hash=status.request_hash,
                claim=status.claim,
                fetched=result.fetched,
                fetched_bytes=size,
                total_bytes=size,
            )
        )
    plan = WeightsPlan(False, FETCHING, f"{_fetching(model)}: waiting for its pod", status)
    if job.finished == "Complete" and (pod is None or pod.is_finished):
        # Nobody saw its result; the next one finds everything there. News of the pod may come after that of its Job.
        return plan.and_then(*_deletes(model, [job]))
    plan = plan.kept_from(_obstacle(job, pod, result, observed, requested, settings, now))
    if pod is not None and pod.fetch.running:
        return _with_progress(plan, model, pod, observed, settings, now)
    lookup, wake = obstacles.events_read_due(
        model.metadata.namespace, job, pod, observed.event_snapshots, settings, now
    )
    return plan.and_then(lookup, wake_after_seconds=wake)


def _done(status: WeightsStatus) -> WeightsPlan:
    there = ", ".join(f"{source.uri} at {source.revision[:12]}" for source in status.fetched)
    return WeightsPlan(True, "Fetched", f"{there}: {_size(status.total_bytes)} on PVC {status.claim}", status)


def _deletes(model: MTPModel, jobs: Iterable[Job]) -> tuple[Delete, ...]:
    """Jobs stay until their result is in the status, or nobody asks for it any more."""
    namespace = model.metadata.namespace
    return tuple(Delete(Reference(Kind.JOB, namespace, job.name, job.uid)) for job in jobs if not job.deleting)


def _result(model: MTPModel, pod: Pod | None) -> FetchResult | None:
    if pod is None or pod.fetch.terminated is None:
        return None
    try:
        result = FetchResult.model_validate_json(pod.fetch.terminated.message)
    except ValueError:
        return None
    if result.failure is None and not _is_as_requested(fetched_sources(model), result.fetched):
        message = "the fetch reports other weights than it was asked for"
        return FetchResult(failure=FetchFailure(reason="ResultImplausible", message=message))
    return result


def _is_as_requested(requested: Sequence[WeightsSource], fetched: Sequence[FetchedSource]) -> bool:
    """Whether the repositories are those that were asked for, at the commits that were pinned."""
    return len(requested) == len(fetched) and all(
        hub_parts(one.uri)[0] == hub_parts(other.uri)[0] and one.revision in (None, other.revision)
        for one, other in zip(requested, fetched, strict=True)
    )


# -- what keeps it from going on ---------------------------------------------------------------------------------------


def _obstacle(
    job: Job,
    pod: Pod | None,
    result: FetchResult | None,
    observed: Observed,
    requested: RunSettings,
    settings: OperatorSettings,
    now: datetime,
) -> obstacles.Obstacle | None:
    failure = result.failure if result is not None else None
    if job.finished == "Failed":
        again = f". Fix the cause, then increase spec.tuning.retuneRequest or delete Job {job.name} to retry"
        if failure is not None:
            return obstacles.Obstacle(failure.reason, failure.message + again, needs_a_person=True)
        return obstacles.Obstacle("FetchFailed", f"the fetch failed: {_end(job, pod)}{again}", needs_a_person=True)
    if failure is not None:
        return obstacles.Obstacle(failure.reason, f"{failure.message}; retrying", needs_a_person=False)
    return obstacles.obstacle(job, pod, observed, requested, settings, now)


def _end(job: Job, pod: Pod | None) -> str:
    """How a fetch without a result ended."""
    if pod is None or pod.fetch.terminated is None:
        return job.message or job.reason
    end = pod.fetch.terminated
    return f"its program ended with code {end.exit_code} ({end.reason})"


# -- how far it is -----------------------------------------------------------------------------------------------------


def _with_progress(
    plan: WeightsPlan, model: MTPModel, pod: Pod, observed: Observed, settings: OperatorSettings, now: datetime
) -> WeightsPlan:
    """What the pod said when it was last asked, and the next question: rarely, for each answer is a write."""
    seen = observed.progress.get(pod.uid)
    pause = timedelta(seconds=settings.progress_seconds)
    due = seen is None or now - seen.at >= pause
    progress = seen.progress if seen is not None else None
    left = pause if due or seen is None else seen.at + pause - now
    plan = replace(
        plan, message=f"{_fetching(model)}: {_progress_text(progress)}", status=_counted(plan.status, progress)
    )
    read = ProgressRead(pod.uid, pod.address) if due and pod.address else None
    return plan.and_then(read, wake_after_seconds=left.total_seconds())


def _counted(status: WeightsStatus | None, progress: FetchProgress | None) -> WeightsStatus | None:
    if status is None or progress is None or not progress.total_bytes:
        return status
    left, rate = progress.total_bytes - progress.fetched_bytes, progress.bytes_per_second
    return status.model_copy(
        update={
            "fetched_bytes": progress.fetched_bytes,
            "total_bytes": progress.total_bytes,
            "bytes_per_second": rate,
            "remaining_seconds": left // rate if rate else None,
        }
    )


def _progress_text(progress: FetchProgress | None) -> str:
    if progress is None:
        return "under way"
    if progress.stage is FetchStage.WAITING:
        return "waiting for another fetch of the same weights onto this PVC"
    if not progress.total_bytes:
        return "asking the hub for the list of files"
    done, total, rate = progress.fetched_bytes, progress.total_bytes, progress.bytes_per_second
    if done == total:
        return f"{_size(total)} are downloaded and verified"
    ending = f", {rate / 1e6:.0f} MB/s, about {duration((total - done) / rate)} left" if rate else ""
    return f"{done / 1e9:.1f} of {_size(total)} ({100 * done // total}%){ending}"


def _fetching(model: MTPModel) -> str:
    return "fetching " + ", ".join(source.uri for source in fetched_sources(model))


def _size(size: int | None) -> str:
    size = size or 0
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
