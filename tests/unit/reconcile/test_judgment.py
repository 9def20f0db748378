"""The order in which the signs of a trial are believed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mtp_operator.api.run import TrialState, TrialStatus
from mtp_operator.api.trial_documents import TrialFailure, TrialResult
from mtp_operator.reconcile.judgment import Failed, Judgment, Lost, Measured, RunFailed, Running, Terminate, judge
from mtp_operator.reconcile.observed import Container, Job, Pod, Terminated

from .givens import disqualified, result

NOW = datetime(2026, 11, 1, tzinfo=UTC)
TRIAL = TrialStatus(
    number=1, candidate="mtp-3", n_spec=3, repeat=0, job_name="j", job_uid="u", state=TrialState.RUNNING
)
ENDED = TRIAL.model_copy(update={"state": TrialState.ENDING, "reason": "EngineCrashed", "message": "exited: tail"})

GOOD = result(3, 125.0)
RUNNING = Container(running=True)


def job(finished: str = "", reason: str = "", deleting: bool = False) -> Job:
    return Job("u", "j", "r", NOW, finished=finished, reason=reason, deleting=deleting)


def pod(phase: str = "Running", engine: Container = RUNNING, bench: Container = RUNNING, **fields: object) -> Pod:
    return Pod("p", "j-x", "u", NOW, phase, node="a", started_at=NOW, engine=engine, bench=bench, **fields)  # type: ignore[arg-type]


def ended(exit_code: int = 0, message: str = "", reason: str = "", seconds: float = 60) -> Container:
    return Container(terminated=Terminated(exit_code, reason, message, NOW + timedelta(seconds=seconds)))


def crashed(exit_code: int = 1, message: str = "ValueError: x", reason: str = "Error") -> Container:
    return Container(restart_count=1, last_terminated=Terminated(exit_code, reason, message, NOW))


def said(reason: str, message: str) -> str:
    return TrialResult(candidate="mtp-3", n_spec=3, failure=TrialFailure(reason=reason, message=message)).encode()


@pytest.mark.parametrize(
    ("trial", "the_job", "the_pod", "kind", "words"),
    [
        pytest.param(TRIAL, job(), pod(), Running, "", id="running"),
        pytest.param(TRIAL, job(), None, Running, "", id="no pod yet"),
        pytest.param(
            TRIAL, job(), pod("Succeeded", ended(0, seconds=61), ended(0, GOOD.encode())), Measured, "", id="good"
        ),
        pytest.param(
            TRIAL,
            job(),
            pod("Failed", ended(137, seconds=61), ended(0, GOOD.encode())),
            Measured,
            "",
            id="a result stands whatever the engine's exit after it",
        ),
        pytest.param(
            TRIAL,
            job(),
            pod("Failed", crashed(), ended(0, GOOD.encode())),
            Measured,
            "",
            id="a result stands though the engine had restarted",
        ),
        pytest.param(
            TRIAL,
            job(),
            pod("Succeeded", RUNNING, ended(0, disqualified(3, "SpeculationNotEngaged", "no drafts").encode())),
            Failed,
            "no drafts",
            id="a gate disqualified it",
        ),
        pytest.param(
            TRIAL,
            job(),
            pod("Succeeded", RUNNING, ended(0, GOOD.encode()[:200])),
            Lost,
            "code 0 and left no result",
            id="cut",
        ),
        pytest.param(
            TRIAL,
            job("Failed"),
            pod("Failed", RUNNING, ended(128, "runc create failed: \u001b[31mno cgroup", "StartError")),
            Lost,
            "exited with code 128 and left no result (StartError: runc create failed: ",
            id="bench that cannot be started",
        ),
        pytest.param(TRIAL, None, None, Lost, "Job was deleted", id="job deleted"),
        pytest.param(TRIAL, job("Complete"), None, Lost, "pod is gone", id="complete without a pod"),
        pytest.param(
            TRIAL, job("Failed", "BackoffLimitExceeded"), None, Lost, "BackoffLimitExceeded", id="pod deleted"
        ),
        pytest.param(
            TRIAL,
            job("Failed"),
            pod("Failed", crashed(), ended(1), conditions={"DisruptionTarget": ("True", "PreemptionByScheduler", "")}),
            Lost,
            "PreemptionByScheduler",
            id="disrupted before everything the engine did",
        ),
        pytest.param(TRIAL, job(), pod(deleting=True), Lost, "deleted", id="pod being deleted by hand"),
        pytest.param(
            TRIAL,
            job("Failed"),
            pod("Failed", Container(), Container(), reason="UnexpectedAdmissionError", message="no GPU"),
            Lost,
            "no GPU",
            id="rejected at admission",
        ),
        pytest.param(
            TRIAL,
            job("Failed"),
            pod("Failed", ended(137), ended(137), reason="Evicted", message="emptyDir exceeds its limit"),
            Failed,
            "emptyDir exceeds",
            id="its own storage limit",
        ),
        pytest.param(TRIAL, job(), pod("Running", crashed()), Terminate, "code 1", id="crashed at start"),
        pytest.param(TRIAL, job(), pod("Pending", crashed(), Container()), Running, "", id="crashed before its bench"),
        pytest.param(
            TRIAL,
            job(),
            pod("Pending", replace(crashed(), restart_count=2), Container()),
            Terminate,
            "code 1",
            id="crashed until the bench should have been there",
        ),
        pytest.param(
            TRIAL, job(), pod("Running", crashed(137, "", "OOMKilled")), Terminate, "OOMKilled", id="killed for memory"
        ),
        pytest.param(
            TRIAL,
            job("Failed"),
            pod("Failed", crashed(message="tail"), ended(1, said("EngineCrashed", "the cause"))),
            Failed,
            "the cause",
            id="the bench's telling lines are better than the log's tail",
        ),
        pytest.param(
            TRIAL,
            job("Failed"),
            pod("Failed", crashed(message="tail"), ended(1, said("ModelMissing", "no such file"))),
            Failed,
            "ModelMissing no such file",
            id="the engine died of what the bench says is missing",
        ),
        pytest.param(
            ENDED,
            job("Failed"),
            pod("Failed", crashed(message="tail"), ended(1, said("ModelMissing", "no such file"))),
            Failed,
            "ModelMissing no such file",
            id="the same where the engine was first",
        ),
        pytest.param(
            TRIAL,
            job("Failed"),
            pod("Failed", ended(1, "CUDA error", seconds=10), ended(1, said("Interrupted", "stop"))),
            Failed,
            "CUDA error",
            id="the engine died before the bench",
        ),
        pytest.param(
            TRIAL,
            job("Failed"),
            pod("Failed", ended(0, seconds=61), ended(1, said("EngineNotReady", "no completion"))),
            Failed,
            "no completion",
            id="the bench gave up by itself",
        ),
        pytest.param(
            TRIAL,
            job("Failed"),
            pod(
                "Failed",
                Container(waiting_reason="ErrImagePull", waiting_message="no such image"),
                Container(),
                reason="DeadlineExceeded",
            ),
            RunFailed,
            "spec.engine.image",
            id="image errors are the run's",
        ),
        pytest.param(
            TRIAL,
            job("Failed"),
            pod("Failed", ended(0, seconds=61), ended(1, said("Interrupted", "stop")), reason="DeadlineExceeded"),
            Failed,
            "did not end within its time",
            id="deadline",
        ),
        pytest.param(
            TRIAL, job("Failed"), pod("Failed", ended(0, seconds=61), ended(1)), Lost, "no result", id="bench died"
        ),
        pytest.param(ENDED, job(), pod("Running", crashed()), Running, "", id="ended by us, still stopping"),
        pytest.param(
            ENDED, job(), pod("Running", crashed(), deleting=True), Running, "", id="ended by us, its bench not yet"
        ),
        pytest.param(
            ENDED,
            job(),
            pod("Pending", crashed(), Container(), deleting=True),
            Failed,
            "exited: tail",
            id="ended by us before its bench",
        ),
        pytest.param(
            ENDED,
            job("Failed", "DeadlineExceeded"),
            pod("Failed", crashed(), ended(1, said("EngineCrashed", "the cause"))),
            Failed,
            "exited: the cause",
            id="ended by us, better words",
        ),
        pytest.param(
            ENDED, job("Failed", "DeadlineExceeded"), None, Failed, "exited: tail", id="ended by us, pod gone"
        ),
        pytest.param(ENDED, None, None, Failed, "exited: tail", id="ended by us, job gone"),
    ],
)
def test_judgment(
    trial: TrialStatus, the_job: Job | None, the_pod: Pod | None, kind: type[Judgment], words: str
) -> None:
    judgment = judge(trial, the_job, the_pod)
    assert isinstance(judgment, kind)
    assert words in f"{getattr(judgment, 'reason', '')} {getattr(judgment, 'message', '')}"
