"""A server's copy of a compile cache."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from mtp_operator.fetch.compile_cache import copy_cache

from .fetching import MTP


def test_a_cache_is_copied_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "shared" / "torch_compile_cache").mkdir(parents=True)
    (tmp_path / "shared" / "torch_compile_cache" / "model").write_bytes(b"compiled")

    done = subprocess.run([str(MTP), "copy-cache", str(tmp_path / "shared"), str(tmp_path / "own" / "key")], check=True)

    assert done.returncode == 0
    assert (tmp_path / "own" / "key" / "torch_compile_cache" / "model").read_bytes() == b"compiled"


def test_a_cache_that_is_not_there_is_no_failure(tmp_path: Path) -> None:
    assert "nothing has been compiled yet" in copy_cache(tmp_path / "nowhere", tmp_path / "own")


def test_a_file_that_goes_away_meanwhile_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "gone").write_bytes(b"1")
    (tmp_path / "shared" / "kept").write_bytes(b"1")
    copyfile = shutil.copyfile

    def copy(source: str, target: str) -> str:
        if source.endswith("gone"):
            raise FileNotFoundError(source)
        return copyfile(source, target)

    monkeypatch.setattr(shutil, "copyfile", copy)

    assert "copied in part" in copy_cache(tmp_path / "shared", tmp_path / "own")
    assert (tmp_path / "own" / "kept").read_bytes() == b"1"
