"""What is wrong with a built site is seen."""

from __future__ import annotations

from pathlib import Path

from tests.docs.__main__ import faults


def test_what_leads_nowhere_or_to_another_host_is_seen(tmp_path: Path) -> None:
    (tmp_path / "how-to").mkdir()
    (tmp_path / "how-to" / "install.html").write_text('<h1 id="install">Install</h1><a href="../index.html">home</a>')
    (tmp_path / "index.html").write_text(
        '<a href="how-to/install.html#install">right</a><a href="https://example.com">outside</a>'
        '<a href="how-to/install.html#helm">no anchor</a><a href="how-to/gone.html">no file</a>'
        '<script src="https://cdn.example.com/x.js"></script><img src="gone.png">'
    )

    assert list(faults(tmp_path)) == [
        "index.html: gone.png: there is no such file",
        "index.html: how-to/gone.html: there is no such file",
        "index.html: how-to/install.html#helm: there is no such anchor",
        "index.html: loads https://cdn.example.com/x.js from another host",
    ]
