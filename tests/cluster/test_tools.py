"""Programs are taken from where they are in the right version, and a broken build is no build."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cluster import tools

ETCD = next(tool for tool in tools.TOOLS if tool.name == "etcd")


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MTP_OPERATOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tools, "find", tools.find.__wrapped__)


def program(folder: Path, prints: str) -> Path:
    folder.mkdir()
    file = folder / "etcd"
    file.write_text(f"#!/bin/sh\necho '{prints}'\n")
    file.chmod(0o755)
    return file


def test_versions_come_from_go_mod() -> None:
    assert {tool.name: tool.version for tool in tools.TOOLS} == {
        "kubernetes": "1.37.2",
        "etcd": "3.7.3",
        "helm": "4.3.1",
        "coredns": "1.15.0",
        "containerd": "2.3.7",
    }


def test_containerd_shares_with_the_others_what_it_can() -> None:
    def versions(folder: Path) -> dict[str, str]:
        requirement = re.compile(r"^(?:require |\t)(\S+) (v\S+)", re.MULTILINE)
        return dict(requirement.findall((folder / "go.mod").read_text().partition("\nreplace (")[0]))

    others = versions(tools.SOURCES)
    own = {
        module
        for module, version in versions(tools.SOURCES / "containerd").items()
        if others.get(module, version) != version
    }
    assert {module for module in own if not module.startswith("k8s.io/")} == set()


@pytest.mark.parametrize("variable", ["MTP_OPERATOR_BIN", "PATH"])
def test_a_program_in_the_right_version_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str) -> None:
    there = program(tmp_path / "bin", f"etcd Version: {ETCD.version}")
    monkeypatch.setenv(variable, str(tmp_path / "bin"))

    assert tools.find("etcd") == there


@pytest.mark.parametrize("version", ["3.5.0", f"1{ETCD.version}", f"{ETCD.version}1"])
def test_a_program_in_another_version_is_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str) -> None:
    program(tmp_path / "bin", f"etcd Version: {version}")
    monkeypatch.setenv("MTP_OPERATOR_BIN", str(tmp_path / "bin"))

    with pytest.raises(FileNotFoundError, match=r"python -m tests\.cluster tools"):
        tools.find("etcd")


def test_what_is_there_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    monkeypatch.setattr(tools, "_build", lambda _, missing: built.extend(tool.name for tool in missing))
    monkeypatch.setattr(tools.find, "cache_clear", lambda: None, raising=False)
    ETCD.folder.mkdir(parents=True)
    monkeypatch.setenv("PATH", "")

    tools.ensure(*tools.TOOLS)

    assert built == [tool.name for tool in tools.TOOLS if tool is not ETCD]


def test_a_build_that_fails_says_why(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module example.test/broken\n\ngo 1.26\n")
    (tmp_path / "main.go").write_text("package main\n\nfunc main() { nothing() }\n")

    with pytest.raises(RuntimeError, match="undefined: nothing"):
        tools.go_build(tmp_path, str(tmp_path / "broken"), ".")


def test_a_broken_build_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    def build(product: str, ending: BaseException | None = None) -> None:
        with tools.finished_folder(tmp_path / "etcd-1") as folder:
            (folder / product).touch()
            if ending:
                raise ending

    with pytest.raises(KeyboardInterrupt):
        build("half", KeyboardInterrupt())
    assert not (tmp_path / "etcd-1").exists()

    build("etcd")

    assert [file.name for file in (tmp_path / "etcd-1").iterdir()] == ["etcd"]
