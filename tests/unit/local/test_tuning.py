"""A tuning on this machine decides what the operator decides, and loses nothing but the trial under way."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import yaml

from mtp_operator.api.run import MTPTuningRun
from mtp_operator.api.verdicts import VerdictType
from mtp_operator.local.folder import EvidenceFolder
from mtp_operator.local.local_errors import BrokenError, RefusedError, StoppedError
from tests.unit.local.pretended import Desk, told
from tests.unit.reconcile.givens import SPEEDS, model_body
from tests.unit.reconcile.world import World

CURVES = {
    "a peak": SPEEDS,
    "rising": {0: 40.0, 1: 50.0, 2: 61.0, 3: 72.0, 4: 83.0, 5: 94.0, 6: 105.0},
    "speculation slows it down": {0: 80.0, 1: 76.0, 2: 71.0, 3: 66.0, 4: 61.0, 5: 55.0, 6: 50.0},
    "nothing gained": {0: 60.0, 1: 60.1, 2: 59.9, 3: 60.0, 4: 60.1, 5: 59.9, 6: 60.0},
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> MTPTuningRun:
    """A run that nothing has interrupted."""
    return Desk(tmp_path_factory.mktemp("undisturbed")).tune()


@pytest.mark.parametrize("speeds", CURVES.values(), ids=CURVES)
def test_the_trials_and_the_verdict_are_those_of_the_operator(tmp_path: Path, speeds: dict[int, float]) -> None:
    world = World(model_body())
    world.finish(speeds)
    in_a_cluster = MTPTuningRun.from_wire(world.run())

    here = Desk(tmp_path, speeds).tune()

    assert told(here) == told(in_a_cluster)
    assert here.status.verdict == in_a_cluster.status.verdict
    assert here.metadata.name == in_a_cluster.metadata.name


def test_the_run_is_on_disk_as_a_kubernetes_object(tmp_path: Path) -> None:
    run = Desk(tmp_path).tune()

    body = yaml.safe_load((tmp_path / "run.yaml").read_text())
    assert (body["apiVersion"], body["kind"]) == ("mtp-operator.dev/v1alpha1", "MTPTuningRun")
    assert MTPTuningRun.from_wire(body) == run
    assert run.status.verdict is not None
    assert run.status.verdict.type is VerdictType.SELECTED
    assert run.status.verdict.n_spec == 3


@pytest.mark.parametrize("looks", [0, 1, 3, 5, 6, 8, 10, 13, 17, 20])
def test_a_stopped_tuning_continues_where_it_was(tmp_path: Path, undisturbed: MTPTuningRun, looks: int) -> None:
    desk = Desk(tmp_path / "stopped", stops_after=looks)
    with pytest.raises(StoppedError):
        desk.tune()
    assert all(trial.is_stopped for trial in desk.trials[-1:])
    finished = {trial.order.name for trial in desk.trials if trial.bench_end is not None}

    desk.stops_after = None
    begun = len(desk.trials)
    run = desk.tune()

    assert told(run) == told(undisturbed)
    assert run.status.verdict == undisturbed.status.verdict
    assert run.status.counters.lost == 0
    repeated = {trial.order.name for trial in desk.trials[begun:]} & finished
    # What ended in the very moment of the stop has not been seen, and is the trial under way.
    assert len(repeated) <= 1
    kept = {trial.job_name for trial in run.status.trials}
    assert {trial.order.name for trial in desk.trials} == kept


def test_stopped_time_and_again(tmp_path: Path, undisturbed: MTPTuningRun) -> None:
    desk = Desk(tmp_path / "stopped", stops_after=12)
    for _ in range(50):
        try:
            run = desk.tune()
        except StoppedError:
            continue
        break

    assert len(desk.trials) > len(undisturbed.status.trials)
    assert told(run) == told(undisturbed)
    assert run.status.verdict == undisturbed.status.verdict


def test_a_run_with_its_verdict_is_not_repeated(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    run = desk.tune()
    begun = len(desk.trials)

    assert desk.tune() == run
    assert len(desk.trials) == begun


def test_another_model_does_not_continue_the_run(tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        Desk(tmp_path, stops_after=8).tune()

    with pytest.raises(RefusedError, match=r"--resume: the folder has run gemma-\w+, and the model"):
        Desk(tmp_path, body=model_body(tuning={"maxNSpec": 4})).tune()


def test_an_engine_that_dies_at_one_n_is_no_candidate_there(tmp_path: Path) -> None:
    run = Desk(tmp_path, {n_spec: speed for n_spec, speed in SPEEDS.items() if n_spec != 6}).tune()

    failed = next(trial for trial in run.status.trials if trial.n_spec == 6)
    assert failed.reason == "EngineCrashed"
    assert failed.message == "the engine exited with code 2: error: unrecognized arguments: --wrong"
    assert run.status.verdict is not None
    assert run.status.verdict.n_spec == 3


def test_an_engine_that_never_works_ends_the_run_with_its_words(tmp_path: Path) -> None:
    run = Desk(tmp_path, {}).tune()

    assert run.status.verdict is not None
    assert run.status.verdict.type is VerdictType.FAILED
    assert "unrecognized arguments: --wrong" in run.status.verdict.message


@pytest.mark.parametrize("writes", [0, 1, 2, 5, 9])
def test_a_full_disk_ends_it_and_the_rest_can_be_continued(
    tmp_path: Path, undisturbed: MTPTuningRun, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    desk = Desk(tmp_path / "full")
    left = writes

    def fsync(_: int) -> None:
        nonlocal left
        if left == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left -= 1

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(BrokenError, match="No space left on device"):
            desk.tune()
    assert all(trial.is_stopped for trial in desk.trials[-1:])

    run = desk.tune()
    assert told(run) == told(undisturbed)
    assert run.status.verdict == undisturbed.status.verdict


def test_two_do_not_share_a_folder(tmp_path: Path) -> None:
    folder = EvidenceFolder(tmp_path)
    try:
        with pytest.raises(RefusedError, match="another mtp tune is using this folder"):
            EvidenceFolder(tmp_path)
    finally:
        folder.close()


@pytest.mark.parametrize("text", ["- a\n", "a: [", "spec: {}\n", "\x00"])
def test_a_folder_with_something_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.yaml").write_text(text)

    with pytest.raises(RefusedError, match=r"run\.yaml: cannot be read as an MTPTuningRun"):
        Desk(tmp_path).tune()
