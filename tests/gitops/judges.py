"""The judges: kstatus itself, and Argo CD's health script in a real Lua interpreter."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lupa.lua51 import LuaRuntime

from tests.cluster import tools

REPOSITORY = Path(__file__).parents[2]
HEALTH = REPOSITORY / "docs" / "gitops" / "argocd" / "health"

KSTATUS = tools.Tool(
    name="kstatus",
    module="sigs.k8s.io/cli-utils",
    commands={"kstatus": ()},
    package=".",
    sources=Path(__file__).parent / "kstatus",
)

Verdict = tuple[str, str]
"""A status, and what is said of it."""


def kstatus(objects: Iterable[Any]) -> list[Verdict]:
    """What kstatus says of each object: InProgress, Current, Failed and so on. `tools.ensure(KSTATUS)` comes first."""
    lines = "".join(json.dumps(one) + "\n" for one in objects)
    command = [tools.program(KSTATUS, "kstatus")]
    done = subprocess.run(command, input=lines, stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return [(answer["status"], answer["message"]) for answer in answers]


def argo_health(objects: Iterable[Any]) -> list[Verdict]:
    """What Argo CD would say of each object: Healthy, Progressing, Degraded or Suspended."""
    return [_argo_health(one) for one in objects]


def _argo_health(body: Any) -> Verdict:
    # As Argo CD has it: Lua 5.1, the object in `obj`, and no way out of the interpreter.
    lua = LuaRuntime(unpack_returned_tuples=True)
    lua.execute("os, io, package, require, dofile, loadfile, python = nil")
    names: Any = lua.globals()
    names.obj = lua.table_from(body, recursive=True)
    answer: Any = lua.execute((HEALTH / f"{body['kind']}.lua").read_text())
    assert set(answer) <= {"status", "message"}
    return answer["status"], answer["message"] or ""
