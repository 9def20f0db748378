"""The program as kubelet runs it: a process of its own, an engine on a real socket, a termination message."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtp_operator.api.candidate import candidate_id
from mtp_operator.api.spec import EngineType, SpeculationMethod
from mtp_operator.api.trial_documents import (
    RESULT_LIMIT_BYTES,
    OutputStatus,
    PlannedLevel,
    PlannedPrompts,
    TrialFailure,
    TrialPlan,
    TrialResult,
)
from mtp_operator.bench.draft_counters import Counters, DraftCounters
from mtp_operator.bench.load import LevelRun
from mtp_operator.bench.report import trial_result
from mtp_operator.bench.stream import RequestError
from mtp_operator.bench.trial_program import main, plain
from tests.unit.bench.small_server import Server
from tests.unit.bench.stepping_engine import SteppingEngine, standing_in

PROGRAM = """
import sys
from pathlib import Path
from mtp_operator.api.trial_documents import TrialPlan
from mtp_operator.bench.trial_program import main
sys.exit(main(TrialPlan.model_validate_json(sys.argv[1]), Path(sys.argv[2])))
"""


def plan(folder: Path, server: Server | None = None, **changes: Any) -> TrialPlan:
    model = folder / "model.gguf"
    model.touch()
    stated: dict[str, Any] = {
        "engine": EngineType.VLLM,
        "url": f"http://127.0.0.1:{server.server_port if server else 9}",
        "served_name": "tiny",
        "n_spec": 2,
        "output_tokens": 32,
        "levels": (PlannedLevel(concurrency=1), PlannedLevel(concurrency=2)),
        "level_seconds": 20,
        "ready_seconds": 20,
        "model_path": str(model),
        "engine_log": str(folder / "engine.log"),
    }
    asked = {**stated, **changes}
    return TrialPlan(candidate=candidate_id(SpeculationMethod.MTP, asked["n_spec"]), **asked)


def start(plan: TrialPlan, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, json.dumps(plan.to_wire()), str(folder / "termination-log")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def finish(process: subprocess.Popen[str], folder: Path) -> tuple[int, TrialResult, dict[str, Any]]:
    output, _ = process.communicate(timeout=60)
    return process.returncode, TrialResult.decode((folder / "termination-log").read_text()), json.loads(output)


def carried_out(
    engine: SteppingEngine, plan: TrialPlan, folder: Path, output: pytest.CaptureFixture[str]
) -> tuple[int, TrialResult, dict[str, Any]]:
    """The same within this process, on a clock that jumps: how fast this machine is says nothing of the engine."""
    with standing_in(engine.handle):
        status = main(plan, folder / "termination-log")
    return status, TrialResult.decode((folder / "termination-log").read_text()), json.loads(output.readouterr().out)


def drafting_engine() -> SteppingEngine:
    return SteppingEngine(n_spec=2, accepted=lambda number: 1 + number % 2)


def test_a_measured_trial(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, result, record = carried_out(drafting_engine(), plan(tmp_path), tmp_path, capsys)

    assert status == 0
    assert result.failure is None
    assert result.ready_seconds is not None
    assert 0 < result.ready_seconds < 20
    assert [level.concurrency for level in result.levels] == [1, 2]
    for level, details in zip(result.levels, record["levels"], strict=True):
        assert len(level.windows) >= 4
        assert level.output_tokens == 32 * level.requests
        assert level.drafts == level.accepted_per_position[0] > level.accepted_per_position[1] > 0
        assert level.ended_by_eos == 0
        assert set(level.categories) == {"Code", "Chat", "Summarize", "JSON"}
        assert level.client_cpu_share is not None
        assert details["finishReasons"] == {"length": level.requests}


def test_an_engine_that_claims_impossible_figures_fails_its_trial_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, result, _ = carried_out(SteppingEngine(claims=10**30), plan(tmp_path, n_spec=0), tmp_path, capsys)

    assert status == 0
    assert result.failure is not None
    assert result.failure.reason == "ResultImplausible"


def test_an_engine_that_answers_as_nobody_has_foreseen_leaves_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise KeyError("usage")

    monkeypatch.setattr("mtp_operator.bench.trial_program.measure", fail)
    status, result, _ = carried_out(drafting_engine(), plan(tmp_path), tmp_path, capsys)

    assert status == 1
    assert result.failure == TrialFailure(reason="BenchFailed", message="KeyError: 'usage'")


def test_output_that_cannot_be_checked_takes_nothing_from_a_measurement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "engine.log").write_text("0.00.082.035 E srv: no such endpoint\n")

    status, result, _ = carried_out(drafting_engine(), plan(tmp_path), tmp_path, capsys)

    assert status == 0
    assert result.failure is None
    assert result.output_check is not None
    assert result.output_check.status is OutputStatus.UNVERIFIED
    assert result.output_check.message is not None
    assert "/tokenize answered HTTP 404" in result.output_check.message
    assert "The engine says: srv: no such endpoint" in result.output_check.message


def test_a_disqualified_trial_is_a_result_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, result, _ = carried_out(SteppingEngine(), plan(tmp_path), tmp_path, capsys)

    assert status == 0
    assert result.levels
    assert result.failure is not None
    assert result.failure.reason == "SpeculationNotEngaged"
    assert result.output_check is None


@pytest.mark.parametrize(
    ("place", "words"), [("nowhere", "does not exist"), ("empty", "is an empty folder")], ids=["missing", "empty"]
)
def test_a_missing_model_is_said_at_once(tmp_path: Path, place: str, words: str) -> None:
    (tmp_path / "empty").mkdir()

    status, result, _ = finish(start(plan(tmp_path, model_path=str(tmp_path / place)), tmp_path), tmp_path)

    assert status == 1
    assert result.failure is not None
    assert result.failure.reason == "ModelMissing"
    assert "spec.model.uri" in result.failure.message
    assert words in result.failure.message


def test_own_prompts_are_asked_and_their_hash_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "Where is my parcel?"}\n')
    prompts = PlannedPrompts(file=str(file), field="spec.tuning.workload.prompts.configMap: own/prompts.jsonl")
    engine = drafting_engine()

    status, result, _ = carried_out(engine, plan(tmp_path, prompts=prompts), tmp_path, capsys)

    assert status == 0
    assert result.prompts_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert {body["messages"][-1]["content"] for body in engine.bodies} == {"Where is my parcel?"}


def test_a_wrong_line_of_own_prompts_is_said_before_the_engine_is_up(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "a"}\n{"prompt": ""}\n')
    prompts = PlannedPrompts(file=str(file), field="spec.tuning.workload.prompts.configMap: own/prompts.jsonl")

    status, result, _ = finish(start(plan(tmp_path, prompts=prompts), tmp_path), tmp_path)

    assert status == 1
    assert result.failure == TrialFailure(
        reason="PromptsUnusable",
        message="spec.tuning.workload.prompts.configMap: own/prompts.jsonl: line 2: prompt: must not be empty",
    )


def test_an_engine_that_never_comes_up(tmp_path: Path) -> None:
    (tmp_path / "engine.log").write_text("0.00.082.035 E llama_model_load: error loading model: it is incomplete\n")

    status, result, _ = finish(start(plan(tmp_path, ready_seconds=0.5), tmp_path), tmp_path)

    assert status == 1
    assert result.failure is not None
    assert result.failure.reason == "NotReady"
    assert "it is incomplete" in result.failure.message


def test_ended_while_the_engine_keeps_crashing(tmp_path: Path) -> None:
    (tmp_path / "engine.log").write_text("0.00.082.035 E llama_model_load: error loading model: it is incomplete\n")
    process = start(plan(tmp_path), tmp_path)
    _wait_for_handler(process)

    process.send_signal(signal.SIGTERM)
    status, result, _ = finish(process, tmp_path)

    assert status == 1
    assert result.failure == TrialFailure(
        reason="EngineFailed", message="llama_model_load: error loading model: it is incomplete"
    )


def test_ended_while_the_engine_is_well(server: Server, tmp_path: Path) -> None:
    process = start(plan(tmp_path, server), tmp_path)
    assert server.asked.wait(20)

    process.send_signal(signal.SIGTERM)
    status, result, _ = finish(process, tmp_path)

    assert status == 1
    assert result.failure == TrialFailure(reason="Interrupted", message="the trial was asked to stop")


def _wait_for_handler(process: subprocess.Popen[str]) -> None:
    """Until the process catches SIGTERM (bit 15 of SigCgt, counted from 1)."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1], 16)
        if caught & 1 << (signal.SIGTERM - 1):
            return
        time.sleep(0.05)
    raise AssertionError("the program does not catch SIGTERM")


@given(message=st.text(max_size=5000), windows=st.integers(0, 32), levels=st.integers(0, 4))
def test_whatever_was_seen_fits_into_a_termination_message(message: str, windows: int, levels: int) -> None:
    run = LevelRun(
        concurrency=1024,
        windows=(12345.678,) * windows,
        failures=[RequestError("HTTP 500")],
        counters=Counters(10**8, DraftCounters(10**7, 10**8, 10**8, (10**7,) * 16)),
    )
    failure = TrialFailure(reason="RequestsFailed", message=plain(message))

    encoded = trial_result(16, [run] * levels, failure).encode()

    assert len(encoded) <= RESULT_LIMIT_BYTES + 5
    assert TrialResult.decode(encoded).failure is not None
