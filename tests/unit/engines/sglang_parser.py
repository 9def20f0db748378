"""SGLang's own parser, as far as its sources say what it takes: they are recorded in engine_parsers.json."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from functools import cache
from typing import Any, NoReturn

from tests.unit.api.record_parsers import RECORD

_TYPES = {"int": int, "float": float, "str": str}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def problem(argv: Iterable[str]) -> str:
    """What SGLang says against arguments of `sglang serve`; empty if it takes them."""
    try:
        _parser().parse_args(list(argv))
    except ValueError as error:
        return str(error)
    return ""


@cache
def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="sglang serve")
    recorded = json.loads(RECORD.read_text())["SGLang"]
    for names in recorded["flags"]:
        values = recorded["arguments"][names[0]]
        one = values.removesuffix("+")
        stated: dict[str, Any] = {"type": str, "choices": one.split("|")} if "|" in one else {"type": _TYPES.get(one)}
        if values == "bool":
            stated = {"action": "store_true"}
        elif values.endswith("+"):
            stated["nargs"] = "*"
        parser.add_argument(*names, required=names[0] == "--model-path", **stated)
    return parser
