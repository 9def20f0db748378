"""`mtp tune` as a person runs it: a process, an engine of its own, and nothing left when it has ended."""

from __future__ import annotations

import os
import random
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from mtp_operator.api.run import MTPTuningRun, TrialState
from mtp_operator.api.trial_documents import TrialResult
from mtp_operator.api.verdicts import VerdictType
from tests.unit.local.pretended import told
from tests.unit.reconcile.world import World

REPOSITORY = Path(__file__).parents[3]

MARK = "MTP_TUNE_TEST"
"""A variable that all processes of a test inherit."""

MODEL = """
apiVersion: mtp-operator.dev/v1alpha1
kind: MTPModel
metadata:
  name: planted
spec:
  model: {uri: "pvc://weights/planted"}
  engine:
    type: VLLM
    vllm: {maxModelLen: 3000, maxNumSeqs: 1}
  serving: {replicas: 0}
  tuning:
    maxNSpec: 2
    workload:
      prompts: {builtIn: [Code, Chat]}
      outputTokens: 16
      levels: [{concurrency: 1}]
"""

CURVE = """curve,engine,model,gpu,prompt,concurrency,n_spec,tokens_per_second,acceptance_rate,per_position_acceptance
planted,vLLM,m,g,code,1,0,40,,
planted,vLLM,m,g,code,1,1,100,,
planted,vLLM,m,g,code,1,2,55,,
"""

BEST = 1

ENGINE = shlex.join([sys.executable, "-m", "simulated_gpu", "serve"])


class Shell:
    """A folder with a model and a curve, and processes that can be told from all others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out"
        (folder / "weights").mkdir()
        (folder / "weights" / "config.json").write_text("{}")
        (folder / "model.yaml").write_text(MODEL)
        (folder / "curve.csv").write_text(CURVE)
        self._mark = uuid.uuid4().hex
        self.environment = {
            **os.environ,
            MARK: self._mark,
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "images" / "simulated-gpu"), str(REPOSITORY / "operator")]),
            "SIMULATED_GPU_CURVES": str(folder / "curve.csv"),
            "SIMULATED_GPU_BOOT_NOISE": "0",
            # As fast as a machine with a load of many times its cores can still keep up with.
            "SIMULATED_GPU_SPEED": "4",
        }

    def start(
        self, *options: str, engine: str = ENGINE, before: tuple[str, ...] = (), **environment: str
    ) -> subprocess.Popen[str]:
        arguments = ["model.yaml", "--engine-command", engine, "--model-path", "weights", "--to", "out", *options]
        return self.start_with(*arguments, before=before, **environment)

    def start_with(self, *arguments: str, before: tuple[str, ...] = (), **environment: str) -> subprocess.Popen[str]:
        program = "from mtp_operator.cli.main import app; app()"
        return subprocess.Popen(
            [*before, sys.executable, "-c", program, "tune", *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, process: subprocess.Popen[str]) -> tuple[int, str, str]:
        output, errors = process.communicate(timeout=300)
        return process.returncode, output, errors

    def tune(self, *options: str, engine: str = ENGINE, **environment: str) -> tuple[int, str, str]:
        return self.finish(self.start(*options, engine=engine, before=(), **environment))

    def tune_line(self, *words: str, options: tuple[str, ...] = ()) -> tuple[int, str, str]:
        """Tune what an engine's command line serves."""
        return self.finish(self.start_with("--to", "out", *options, "--", *words))

    def run(self) -> MTPTuningRun:
        return MTPTuningRun.from_wire(yaml.safe_load((self.out / "run.yaml").read_text()))

    def processes(self) -> list[int]:
        """What still runs of all that was started."""
        return [pid for pid, variables in _environments() if variables.get(MARK) == self._mark]

    def wait_for_trial(self, process: subprocess.Popen[str], name: str) -> None:
        """Until the engine of a trial logs that it answers."""
        log = self.out / "trials" / name / "engine.log"
        while process.poll() is None:
            with suppress(FileNotFoundError):
                if "startup complete" in log.read_text():
                    return
            time.sleep(0.02)
        raise AssertionError(f"mtp tune has ended with {process.returncode} before {name}")

    def wait_for_nothing(self) -> None:
        """Until no process is left: what the kernel ends takes a moment."""
        end = time.monotonic() + 60
        while self.processes():
            assert time.monotonic() < end, f"still running: {self.processes()}"
            time.sleep(0.05)


def _environments() -> Iterator[tuple[int, Mapping[str, str]]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                entries = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
                if state != "Z":
                    yield int(folder.name), dict(entry.split("=", 1) for entry in entries if "=" in entry)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_from_a_model_to_its_verdict(shell: Shell) -> None:
    status, output, errors = shell.tune()

    assert (status, errors) == (0, "")
    run = shell.run()
    assert run.status.verdict is not None
    assert (run.status.verdict.type, run.status.verdict.n_spec) == (VerdictType.SELECTED, BEST)
    assert f"Selected: n_spec={BEST} is " in output
    assert "These figures are simulated" in output
    assert f'"num_speculative_tokens": {BEST}' in output
    assert f"Report: {shell.out}/report." in output
    assert shell.processes() == []
    assert _decided_by_the_operator(shell, run) == told(run)


def _decided_by_the_operator(shell: Shell, run: MTPTuningRun) -> list[tuple[int, int, str, str | None]]:
    """The trials that the operator makes of the same results."""
    world = World({**yaml.safe_load(MODEL), "metadata": _metadata("planted"), "status": {"observedGeneration": -1}})
    world.settle()
    for trial in run.status.trials:
        folder = shell.out / "trials" / trial.job_name.removeprefix(f"{run.metadata.name}-")
        result = TrialResult.decode((folder / "result").read_text())
        assert (folder / "record.json").stat().st_size > 0
        job = world.open_job()
        assert job["metadata"]["labels"]["mtp-operator.dev/n-spec"] == str(result.n_spec)
        pod = world.start_pod(job)
        world.settle()
        world.tick(trial.gpu_seconds or 0)
        world.end_bench(pod, 0, result.encode())
        world.settle()
    in_a_cluster = MTPTuningRun.from_wire(world.run())
    assert in_a_cluster.status.verdict is not None
    assert run.status.verdict is not None
    assert in_a_cluster.status.verdict == run.status.verdict
    return told(in_a_cluster)


def _metadata(name: str) -> dict[str, object]:
    return {
        "name": name,
        "namespace": "team",
        "uid": "uid-planted",
        "generation": 1,
        "creationTimestamp": "2026-11-01T08:00:00Z",
    }


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "killed"])
def test_an_interrupted_tuning_is_continued(shell: Shell, number: signal.Signals) -> None:
    process = shell.start()
    shell.wait_for_trial(process, "t2-a0")
    process.send_signal(number)
    status, _, errors = shell.finish(process)
    if number is signal.SIGKILL:
        assert status == -signal.SIGKILL
    else:
        assert status == 130
        assert errors == "mtp tune: interrupted: what was measured is kept in out; add --resume to continue\n"
    shell.wait_for_nothing()
    first = (shell.out / "trials" / "t1-a0" / "result").stat()

    status, output, errors = shell.tune("--resume")

    assert (status, errors) == (0, "")
    assert "Continuing planted after 1 trials" in output
    run = shell.run()
    assert run.status.verdict is not None
    assert (run.status.verdict.type, run.status.verdict.n_spec) == (VerdictType.SELECTED, BEST)
    assert run.status.counters.lost == 0
    assert (shell.out / "trials" / "t1-a0" / "result").stat().st_mtime_ns == first.st_mtime_ns
    assert shell.processes() == []


def test_stopped_at_ten_random_moments(shell: Shell) -> None:
    moments = random.Random(15)
    results: dict[Path, int] = {}
    for number in range(10):
        process = shell.start(*(("--resume",) if (shell.out / "run.yaml").exists() else ()))
        assert process.stdout is not None
        process.stdout.readline()
        with suppress(subprocess.TimeoutExpired):
            process.wait(moments.uniform(0, 12))
        process.send_signal(signal.SIGINT)
        status, output, errors = shell.finish(process)
        # Once all is said, Python leaves a signal to the system.
        assert status in (0, 130) or (status, "Report: " in output) == (-signal.SIGINT, True), (number, output, errors)
        shell.wait_for_nothing()
        results = _kept(shell, results)

    status, _, errors = shell.tune("--resume")

    assert (status, errors) == (0, "")
    run = shell.run()
    assert run.status.verdict is not None
    assert (run.status.verdict.type, run.status.verdict.n_spec) == (VerdictType.SELECTED, BEST)
    assert (run.status.counters.measured, run.status.counters.lost) == (3, 0)
    _kept(shell, results)


def _kept(shell: Shell, before: Mapping[Path, int]) -> dict[Path, int]:
    """Result -> when it was written, of each finished trial; those of before are as they were."""
    trials = shell.run().status.trials if (shell.out / "run.yaml").exists() else ()
    folders = [trial.job_name.rpartition("-t")[2] for trial in trials if trial.state is TrialState.MEASURED]
    files = [shell.out / "trials" / f"t{folder}" / "result" for folder in folders]
    now = {file: file.stat().st_mtime_ns for file in files}
    assert before.items() <= now.items()
    return now


@pytest.mark.parametrize("kilobytes", [8, 24, 96])
def test_a_disk_that_is_full(shell: Shell, kilobytes: int) -> None:
    shell.out.mkdir()
    namespaces = ("unshare", "--user", "--map-root-user", "--mount")
    if subprocess.run([*namespaces, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no small disk can be mounted without root here")
    mounted = f'mount -t tmpfs -o size={kilobytes}k none {shlex.quote(str(shell.out))} && exec "$@"'

    status, _, errors = shell.finish(shell.start(before=(*namespaces, "sh", "-c", mounted, "sh")))

    assert status == 1
    assert re.fullmatch(
        rf"mtp tune: {shell.out}/\S+: No space left on device; what was measured is kept: fix that, then continue "
        r"with --resume\n",
        errors,
    )
    assert shell.processes() == []


def test_a_wrong_flag_is_said_in_the_words_of_the_engine(shell: Shell) -> None:
    wrong = MODEL.replace("vllm: {", 'extraArgs: ["--speed=fast"]\n    vllm: {')
    (shell.folder / "model.yaml").write_text(wrong)

    status, output, errors = shell.tune()

    assert (status, errors) == (1, "")
    assert "Failed: Tuning failed: " in output
    assert "could not convert string to float: 'fast'" in output
    assert "Traceback" not in output
    assert shell.processes() == []


def test_an_engine_that_dies_at_one_n_is_told_and_the_rest_is_measured(shell: Shell) -> None:
    status, output, errors = shell.tune(SIMULATED_GPU_FAULTS='{"n_specs": [2], "dies_at_request": 3}')

    assert (status, errors) == (0, "")
    assert "it was ordered to die at request 3" in output
    run = shell.run()
    assert run.status.verdict is not None
    assert run.status.verdict.n_spec == BEST
    (failed,) = (trial for trial in run.status.trials if trial.state is TrialState.FAILED)
    assert (failed.n_spec, failed.reason) == (2, "EngineCrashed")
    assert shell.processes() == []


def test_a_port_in_use(shell: Shell) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, output, errors = shell.tune("--port", str(port))

    assert (status, output) == (2, "")
    assert errors == (
        f"mtp tune: --port: port {port} cannot be used (Address already in use); choose another one, or leave --port "
        "out\n"
    )
    assert not shell.out.exists()


@pytest.mark.parametrize(
    ("options", "engine", "words"),
    [
        ((), "no-such-engine serve", "engine not found: 'no-such-engine' is not on PATH"),
        ((), "'", "--engine-command: ': No closing quotation"),
        ((), "", "engine not found"),
        (("--model-path", "nowhere"), ENGINE, "--model-path: {folder}/nowhere does not exist"),
        (("--model-path", "empty"), ENGINE, "--model-path: {folder}/empty is an empty folder"),
        (("--prompts", "nowhere"), ENGINE, "--prompts: nowhere does not exist, or is not a file"),
        (("--name", "other"), ENGINE, "model.yaml: contains no MTPModel named 'other'; there are planted"),
        (("--to", "model.yaml"), ENGINE, "model.yaml: File exists"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_sentence(
    shell: Shell, options: tuple[str, ...], engine: str, words: str
) -> None:
    (shell.folder / "empty").mkdir()

    status, output, errors = shell.tune(*options, engine=engine)

    assert (status, output) == (2, "")
    assert errors.startswith(f"mtp tune: {words.format(folder=shell.folder)}")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "model.yaml:1: cannot be read as YAML: "),
        ("a: b", "model.yaml: holds no MTPModel"),
        (MODEL.replace("maxNSpec", "maxNspec"), "model.yaml:13: spec.tuning.maxNspec: unknown field"),
        (MODEL.replace("maxNSpec: 2", "maxNSpec: many"), "model.yaml:13: spec.tuning.maxNSpec: Invalid value"),
        (MODEL + "---" + MODEL.replace("planted", "second"), "model.yaml: contains 2 MTPModels; select one with"),
        (
            MODEL.replace("vllm: {", "extraArgs: ['--runner=pooling']\n    vllm: {"),
            "model.yaml:10: spec.engine.extraArgs[0]: ",
        ),
        (
            MODEL.replace("{builtIn: [Code, Chat]}", "{pvc: {claim: own, path: p.jsonl}}"),
            "spec.tuning.workload.prompts: the prompts are in a cluster; name a file on this machine with --prompts",
        ),
    ],
)
def test_a_model_that_cannot_be_used(shell: Shell, text: str, words: str) -> None:
    (shell.folder / "model.yaml").write_text(text)

    status, output, errors = shell.tune()

    assert (status, output) == (2, "")
    assert errors.startswith(f"mtp tune: {words}")
    assert "Traceback" not in errors


def test_a_run_is_not_overwritten(shell: Shell) -> None:
    process = shell.start()
    shell.wait_for_trial(process, "t1-a0")
    process.send_signal(signal.SIGINT)
    shell.finish(process)

    status, _, errors = shell.tune()

    assert status == 2
    assert errors.startswith("mtp tune: out: has a run already; continue it with --resume")


def test_no_kubernetes_is_imported() -> None:
    program = (
        "import sys, mtp_operator.cli.main, mtp_operator.cli.tune_view, mtp_operator.local.tuning, "
        "mtp_operator.local.local_node; "
        "print([one for one in sys.modules if one.split('.')[0] in ('kubernetes', 'kopf')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
