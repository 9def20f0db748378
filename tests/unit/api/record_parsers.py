"""Records what the pinned engines' own parsers take, for test_parsers.py.

`python -m tests.unit.api.record_parsers LLAMA_SERVER SGLANG_WHEEL VLLM_WHEEL...` writes engine_parsers.json: the flags
and variables that `LLAMA_SERVER --help` lists, and those in the sources of SGLang and of each vLLM, with what vLLM's
--speculative-config takes. No wheel is run, so that vLLM's may be one for GPUs.
"""

from __future__ import annotations

import ast
import fnmatch
import hashlib
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .record_sglang import of_sglang

RECORD = Path(__file__).with_name("engine_parsers.json")

_FLAG = re.compile(r"(?<![\w-])--?[A-Za-z0-9][-A-Za-z0-9_.]*")
_DESCRIPTION = re.compile(r"\s{3,}[a-z(\[]")
_VARIABLE = re.compile(r"\(env: ([A-Z0-9_]+)\)")

_VLLM_PARSERS = ("vllm/engine/arg_utils.py", "vllm/entrypoints/*/cli_args.py")
"""The latter moves from version to version."""
_VLLM_VARIABLES = "vllm/envs.py"
_VLLM_SPECULATION = "vllm/config/speculative.py"


def of_llama_server(program: str) -> dict[str, Any]:
    """What llama-server's help says: each flag with its other spellings."""
    said = {
        option: subprocess.run([program, option], check=True, capture_output=True, text=True)
        for option in ("--help", "--version")
    }
    text = said["--help"].stdout
    rows = [_FLAG.findall(_DESCRIPTION.split(line)[0]) for line in text.splitlines() if re.match("--?[A-Za-z]", line)]
    version = (said["--version"].stdout + said["--version"].stderr).split("version: ")[1].splitlines()[0]
    return {
        "from": f"llama-server --help, {version}, sha256 {_sha256(text.encode())}",
        "flags": sorted(row for row in rows if row),
        "variables": sorted(set(_VARIABLE.findall(text))),
    }


def of_vllm(wheel: Path) -> dict[str, Any]:
    """What vLLM's sources add to its parser: literals of add_argument, and fields of its frontend's settings."""
    patterns = (*_VLLM_PARSERS, _VLLM_VARIABLES, _VLLM_SPECULATION)
    with zipfile.ZipFile(wheel) as files:
        sources = [files.read(name) for pattern in patterns for name in fnmatch.filter(files.namelist(), pattern)]
    *parsers, variables, speculation = sources
    rows = [row for source in parsers for row in _rows(ast.parse(source))]
    package, version, *_ = wheel.name.split("-")
    return {
        "from": f"sources of {package.replace('_', '-')} {version}, sha256 {_sha256(b''.join(sources))}",
        "flags": sorted(rows),
        "variables": sorted(_variables(ast.parse(variables))),
        "speculation": dict(sorted(_speculation(ast.parse(speculation)))),
    }


def _rows(module: ast.Module) -> Iterator[list[str]]:
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument":
            names = [one.value for one in node.args if isinstance(one, ast.Constant) and str(one.value).startswith("-")]
            if names:
                yield [str(name) for name in names]
        elif isinstance(node, ast.ClassDef) and node.name.endswith("FrontendArgs"):
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    yield [f"--{field.target.id.replace('_', '-')}"]


def _variables(module: ast.Module) -> Iterator[str]:
    for node in module.body:
        target = node.target if isinstance(node, ast.AnnAssign) else None
        if isinstance(target, ast.Name) and target.id == "environment_variables":
            assert isinstance(node, ast.AnnAssign)
            assert isinstance(node.value, ast.Dict)
            yield from (str(key.value) for key in node.value.keys if isinstance(key, ast.Constant))


def _speculation(module: ast.Module) -> Iterator[tuple[str, list[str]]]:
    """The fields of SpeculativeConfig, each with the words that it takes where its type lists them."""
    types = {
        node.targets[0].id: node.value
        for node in module.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }

    def words(type_: ast.expr) -> Iterator[str]:
        for node in ast.walk(type_):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.Name) and node.id in types:
                yield from words(types[node.id])

    for node in module.body:
        if isinstance(node, ast.ClassDef) and node.name == "SpeculativeConfig":
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    yield field.target.id, sorted(words(field.annotation))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def main() -> None:
    """Write the record."""
    program, sglang, *wheels = sys.argv[1:]
    of_wheels = {wheel.name.split("-")[1]: of_vllm(wheel) for wheel in map(Path, wheels)}
    write(
        {
            "LlamaCpp": of_llama_server(program),
            **{f"VLLM {version}": record for version, record in sorted(of_wheels.items())},
            "SGLang": of_sglang(Path(sglang)),
        }
    )


def write(record: dict[str, Any]) -> None:
    """Keep the record, a row a line: a diff then shows flags."""
    lines = json.dumps(record, indent=1)
    RECORD.write_text(re.sub(r"\[\s+(\"-[^\]]*?)\s+\]", lambda row: f"[{' '.join(row[1].split())}]", lines) + "\n")


if __name__ == "__main__":
    main()
