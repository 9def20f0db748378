"""`mtp tune MODEL.yaml --docker`: the command lines for Docker, and no container left when the tuning has ended."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from mtp_operator.api.verdicts import VerdictType
from mtp_operator.local.container import Container, container
from tests.unit.local.test_command import BEST, Shell

IMAGE = "docker.io/vllm/vllm-openai:v0.33.0"

DOCKER = """#!/bin/sh
# Containers are processes that do not end with this command, as those of Docker may not.
folder=$(dirname "$0")
if [ "$1" = rm ]; then
    test -f "$folder/$3.pid" || exit 1
    kill -KILL "$(cat "$folder/$3.pid")" 2>/dev/null
    exec rm "$folder/$3.pid"
fi
shift
while [ "${1#-}" != "$1" ]; do
    case $1 in
        --name=*) name=${1#--name=} ;;
        --env=*=*) export "${1#--env=}" ;;
    esac
    shift
done
test ! -e "$folder/$name.pid" || { echo "the name $name is in use"; exit 125; }
shift
setsid PYTHON -m simulated_gpu serve "$@" &
echo $! > "$folder/$name.pid"
wait
"""


def made(environment: Mapping[str, str], *weights: Path | None) -> Container:
    return container("/usr/bin/docker", IMAGE, "1000:1001", weights, environment)


def test_the_command_line_that_runs_a_container(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    (tmp_path / "model").mkdir()
    (tmp_path / "drafter.gguf").touch()
    environment = {"HF_HOME": str(tmp_path / "hub"), "HF_TOKEN": "secret", "CUDA_VISIBLE_DEVICES": "2", "A": "b"}
    it = made(environment, tmp_path / "model", tmp_path / "drafter.gguf")

    assert it.run("mtp-tune-n0", {"HOME": "/tmp"}, tmp_path / "out", ["/w", "--port=1"]) == (
        *("/usr/bin/docker", "run", "--rm", "--init", "--name=mtp-tune-n0", "--gpus=device=2", "--network=host"),
        *("--shm-size=16g", "--user=1000:1001"),
        f"--mount=type=bind,source={tmp_path}/model,target={tmp_path}/model,readonly",
        f"--mount=type=bind,source={tmp_path},target={tmp_path},readonly",
        f"--mount=type=bind,source={tmp_path}/out,target={tmp_path}/out,readonly",
        f"--mount=type=bind,source={tmp_path}/hub,target={tmp_path}/hub",
        *(f"--env=HF_HOME={tmp_path}/hub", "--env=HF_TOKEN", "--env=HOME=/tmp", IMAGE, "/w", "--port=1"),
    )
    assert it.remove("mtp-tune-n0") == ("/usr/bin/docker", "rm", "--force", "mtp-tune-n0")


@pytest.mark.parametrize(
    ("environment", "gpus"),
    [
        ({}, ["--gpus=all"]),
        ({"CUDA_VISIBLE_DEVICES": ""}, []),
        ({"CUDA_VISIBLE_DEVICES": "GPU-8932f937"}, ["--gpus=device=GPU-8932f937"]),
        ({"CUDA_VISIBLE_DEVICES": "0,3"}, ['--gpus="device=0,3"']),
    ],
)
def test_the_gpus_are_those_that_are_visible(environment: dict[str, str], gpus: list[str]) -> None:
    line = made({"HOME": "/nowhere", **environment}, None).run(None, {}, None, [])

    assert [word for word in line if word.startswith("--gpus")] == gpus
    assert not any(word.startswith(("--name", "--mount")) for word in line)


def test_a_path_with_a_comma_is_one_path(tmp_path: Path) -> None:
    folder = tmp_path / "a,b"
    folder.mkdir()

    (mount,) = (word for word in made({}, folder).run(None, {}, None, []) if word.startswith("--mount"))

    assert mount == f'--mount=type=bind,"source={folder}","target={folder}",readonly'


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(DOCKER.replace("PYTHON", shlex.quote(sys.executable)))
    program.chmod(0o755)
    shell.environment["PATH"] = f"{program.parent}:{os.environ['PATH']}"
    yield shell
    for name in containers(shell):
        subprocess.run([program, "rm", "--force", name], check=True)


def started(shell: Shell, *options: str) -> subprocess.Popen[str]:
    return shell.start_with("model.yaml", "--docker", "--model-path", "weights", "--to", "out", *options)


def containers(shell: Shell) -> list[str]:
    return [file.stem for file in (shell.folder / "bin").glob("*.pid")]


def test_a_model_is_tuned_in_containers(shell: Shell) -> None:
    status, output, errors = shell.finish(started(shell))

    assert (status, errors) == (0, "")
    run = shell.run()
    assert run.status.verdict is not None
    assert (run.status.verdict.type, run.status.verdict.n_spec) == (VerdictType.SELECTED, BEST)
    assert run.spec.engine.image == IMAGE
    words = shlex.split((shell.out / "trials" / "t1-a0" / "command").read_text())
    assert words[:2] == [str(shell.folder / "bin" / "docker"), "run"]
    assert f"--name=mtp-tune-{run.metadata.uid[:8]}-t1-a0" in words
    assert words[words.index(IMAGE) + 1] == str(shell.folder / "weights")
    assert f"{IMAGE} {shell.folder}/weights --served-model-name" in output
    assert containers(shell) == []
    assert shell.processes() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "killed"])
def test_no_container_is_left(shell: Shell, number: signal.Signals) -> None:
    process = started(shell)
    shell.wait_for_trial(process, "t1-a0")
    (name,) = containers(shell)
    process.send_signal(number)
    shell.finish(process)
    # What a killed tuning leaves where Docker does not end it, the next one removes.
    assert containers(shell) == ([name] if number is signal.SIGKILL else [])

    (shell.out / "trials" / "t1-a0" / "engine.log").unlink()
    process = started(shell, "--resume")
    shell.wait_for_trial(process, "t1-a0")
    assert containers(shell) == [name]
    process.send_signal(signal.SIGINT)
    shell.finish(process)

    assert containers(shell) == []
    shell.wait_for_nothing()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("model.yaml", "--docker", "--engine-command", "vllm serve"), "--docker: runs the image of a MODEL.yaml"),
        (("--docker", "--", "vllm", "serve", "weights"), "--docker: runs the image of a MODEL.yaml"),
        (("model.yaml", "--docker"), "spec.model.uri: pvc://weights/planted is not on this machine"),
        (("model.yaml", "--docker", "--model-path", "weights"), "--docker: 'docker' is not on PATH"),
    ],
)
def test_what_cannot_be_run_with_docker(shell: Shell, words: tuple[str, ...], message: str) -> None:
    status, output, errors = shell.finish(shell.start_with(*words, PATH="/nowhere"))

    assert (status, output) == (2, "")
    assert errors.startswith(f"mtp tune: {message}")
    assert errors.count("\n") == 1
