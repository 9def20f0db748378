"""What a person who waits gets to see, also when several things are done at a time."""

from __future__ import annotations

import re
import time

import pytest

from tests.cluster import progress


def test_a_step_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.step("Building"):
        pass

    assert re.fullmatch(r"Building … 0\.\d s\n", capsys.readouterr().out)


def test_a_step_says_that_it_failed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), progress.step("Building"):
        raise KeyboardInterrupt

    assert capsys.readouterr().out == "Building … failed\n"


def test_steps_at_a_time_do_not_break_each_others_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.step("Tools"), progress.step("Images"):
        progress.tell("half way")

    lines = re.sub(r"\d\.\d s", "0 s", capsys.readouterr().out).splitlines()
    assert lines == ["Tools … ", "Images … ", "half way", "Images … 0 s", "Tools … 0 s"]


def test_a_share_tells_how_long_it_will_be(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    share = progress.Share("Packages", ["a", "b", "c", "d"])

    share.advance("a")
    now = 100
    share.advance("none of them")
    share.advance("b")
    now = 140
    share.advance("c")
    now = 180
    share.advance("d")

    assert capsys.readouterr().out.splitlines() == [
        "  Packages: 1 of 4, about 5 min left",
        "  Packages: 3 of 4, about 1 min left",
    ]
