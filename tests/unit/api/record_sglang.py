"""Reads what SGLang's parser takes out of its sources, which are not run: importing them takes torch and CUDA.

SGLang derives a flag from each annotated field of `sglang/srt/arg_groups/fields/`, and adds a few by hand.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZipFile

_FIELDS = "sglang/srt/arg_groups/fields/"
_CHOICES = "sglang/srt/arg_groups/choices.py"
_BY_HAND = "sglang/srt/server_args.py"
_VARIABLES = "sglang/srt/environ.py"
_COMMON = "sglang/srt/utils/common.py"

_PLAIN_TYPES = ("int", "float", "str", "bool")


class Argument(NamedTuple):
    """One flag, with its other spellings."""

    names: list[str]
    values: str
    """The type of one, or `one|other` where they are listed; `bool` takes none, and `+` at the end stands for several.

    What only the running engine knows is `str`.
    """


def of_sglang(wheel: Path) -> dict[str, Any]:
    """What the sources in SGLang's wheel add to its parser, and the variables that they read."""
    with ZipFile(wheel) as archive:
        names = sorted(one for one in archive.namelist() if one.startswith(_FIELDS) and one.endswith(".py"))
        sources = {name: archive.read(name) for name in (*names, _CHOICES, _BY_HAND, _VARIABLES, _COMMON)}
    parsed = {name: ast.parse(source) for name, source in sources.items()}
    constants = _constants(parsed[_CHOICES])
    found = [
        argument for name in names for argument in _of_fields(parsed[name], {**constants, **_constants(parsed[name])})
    ]
    found += _by_hand(parsed[_BY_HAND])
    digest = hashlib.sha256(b"".join(sources.values())).hexdigest()
    return {
        "from": f"sources of sglang {wheel.name.split('-')[1]}, sha256 {digest}",
        "flags": sorted(argument.names for argument in found),
        "variables": sorted(
            {
                *re.findall(r"^    (SGLANG_\w+) = Env", sources[_VARIABLES].decode(), re.MULTILINE),
                *re.findall(r"getenv\(\"(SGLANG_\w+)\"\)", sources[_COMMON].decode()),
            }
        ),
        "arguments": {argument.names[0]: argument.values for argument in sorted(found)},
    }


def _constants(module: ast.Module) -> dict[str, Any]:
    """Lists of literals by their names, as far as they are spelled out."""
    found: dict[str, Any] = {}
    for node in module.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found[name] = _literal(value, found)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                found[name] = _literal(value, found)
    return found


def _literal(node: ast.expr, constants: dict[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return constants.get(node.id)
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def _of_fields(module: ast.Module, constants: dict[str, Any]) -> Iterator[Argument]:
    for node in ast.walk(module):
        if not isinstance(node, ast.ClassDef):
            continue
        for field in node.body:
            match field:
                case ast.AnnAssign(
                    target=ast.Name(id=name),
                    annotation=ast.Subscript(value=ast.Name(id="A"), slice=ast.Tuple(elts=[kind, said])),
                ):
                    stated = {one.arg: one.value for one in said.keywords} if isinstance(said, ast.Call) else {}
                    if "no_cli" not in stated:
                        yield _argument(name, kind, stated, constants)


def _argument(name: str, kind: ast.expr, stated: dict[str | None, ast.expr], constants: dict[str, Any]) -> Argument:
    own = _literal(stated["cli_name"], constants) if "cli_name" in stated else f"--{name.replace('_', '-')}"
    names = [own, *(_literal(stated["aliases"], constants) if "aliases" in stated else ())]
    action = ast.unparse(stated["action"]) if "action" in stated else ""
    if "BooleanOptionalAction" in action:
        names += [f"--no-{one.removeprefix('--')}" for one in names]
    text = ast.unparse(kind)
    optional = re.fullmatch(r"(?:Optional|Union)\[(.*?)(?:, None)?\]", text)
    inner = optional[1] if optional else text
    several = re.fullmatch(r"List\[(.*)\]", inner)
    choices = _literal(stated["choices"], constants) if "choices" in stated else None
    literal = re.fullmatch(r"Literal(\[.*\])", inner)
    if literal:
        choices = choices or ast.literal_eval(literal[1])
        inner = type(choices[0]).__name__
    is_parsed = "type_parser" in stated
    values = inner if not several else several[1]
    if is_parsed or values not in _PLAIN_TYPES:
        values = "str"
    if action:
        values = "bool" if "BooleanOptionalAction" in action else "str+"
    elif choices:
        values = "|".join(sorted(map(str, choices)))
    takes_several = (several is not None and not is_parsed) or "nargs" in stated
    return Argument(names, f"{values}+" if takes_several and not action else values)


def _by_hand(module: ast.Module) -> Iterator[Argument]:
    for node in ast.walk(module):
        match node:
            case ast.Call(func=ast.Attribute(attr="add_argument"), args=[ast.Constant(value=str(name)), *_]):
                action = next((ast.unparse(one.value) for one in node.keywords if one.arg == "action"), "")
                yield Argument([name], "bool" if "store_true" in action or "StoreTrue" in action else "str")
