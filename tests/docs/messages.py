"""Every text that the product can print or write, collected from its source into one file that reads as a text.

python -m tests.docs.messages     (part of `make generate`)

A text is a string of at least two words. Fields of an f-string are written as `{name}`. Strings whose place shows
that they are not messages are left out: documentation strings other than those of commands, regular expressions,
CEL, prompts, file names.
"""

from __future__ import annotations

import ast
import functools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

import mtp_operator
from mtp_operator.api.crd import KINDS
from tests.docs.pages import REPOSITORY

GOLDEN = Path(__file__).parent / "golden" / "messages.txt"
PACKAGE = Path(mtp_operator.__file__).parent
CHART = REPOSITORY / "charts" / "mtp-operator"

NO_SOURCES = {
    "bench/built_in.py": "prompts of models",
    **dict.fromkeys(
        ("api/crd.py", "api/reference.py", "api/structural.py"), "makes CRDs and pages, which are read as such"
    ),
}
"""Modules without messages -> why."""

NO_MESSAGES = frozenset({"compile", "rule", "fullmatch", "match", "search", "sub", "split", "startswith", "endswith"})
"""Functions whose arguments are patterns or CEL: the messages of rules are read from the CRDs."""

TWO_WORDS = re.compile(r"[\w}][^\w\s{]*\s+[^\w\s{]*[\w{]")
CODE = re.compile(r"\bself\b[.\[]|{{-|\(\?|\\[bdws]|%\(|<svg|&& | \|\| ")
"""CEL, patterns, templates."""


@functools.cache
def collected() -> dict[str, list[str]]:
    """The texts of each source, in their order there, none twice: name of the source -> texts."""
    texts: dict[str, list[str]] = {}
    for source in sorted(PACKAGE.rglob("*.py")):
        if str(source.relative_to(PACKAGE)) not in NO_SOURCES:
            texts[f"{source.relative_to(PACKAGE.parent)}"] = list(_of_node(ast.parse(source.read_text("utf-8"))))
    for source in sorted((REPOSITORY / "images" / "simulated-gpu").rglob("*.py")):
        texts[f"{source.relative_to(REPOSITORY)}"] = list(_of_node(ast.parse(source.read_text("utf-8"))))
    for template in sorted(PACKAGE.rglob("*.jinja")):
        texts[f"{template.relative_to(PACKAGE.parent)}"] = list(_of_template(template.read_text("utf-8")))
    texts["rules of the CRDs"] = list(_of_rules())
    for source in sorted(CHART.rglob("*")):
        found = list(_of_chart(source))
        if found:
            texts[f"{source.relative_to(REPOSITORY)}"] = found
    texts["Makefile"] = list(_of_makefile((REPOSITORY / "Makefile").read_text("utf-8")))
    for sample in sorted((REPOSITORY / "docs" / "samples").rglob("*.yaml")):
        texts[f"{sample.relative_to(REPOSITORY)}"] = list(_comments(sample.read_text("utf-8")))
    return {name: list(dict.fromkeys(found)) for name, found in texts.items() if found}


def golden() -> str:
    """What the file has to hold."""
    parts = [f"{name}\n" + "".join(f"  {text}\n" for text in texts) for name, texts in collected().items()]
    return "\n".join(parts)


def _of_node(node: ast.AST) -> Iterator[str]:
    """The texts below a node, each string once: a joined one as a whole, then what its fields hold."""
    match node:
        case ast.Expr(value=ast.Constant(value=str())):
            return  # a documentation string
        case ast.Module():
            yield from _of_commands(node)
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if name in NO_MESSAGES:
            return
        case ast.keyword(arg="pattern" | "rule" | "expression" | "message_expression"):
            return
        case ast.Constant(value=str() as text):
            yield from _worded(text)
            return
        case ast.JoinedStr():
            yield from _worded(_joined(node))
            for part in node.values:
                if isinstance(part, ast.FormattedValue):
                    yield from _of_node(part.value)
            return
        case _:
            pass
    for child in ast.iter_child_nodes(node):
        yield from _of_node(child)


def _of_commands(module: ast.Module) -> Iterator[str]:
    """The help of each function that is made a command, by a decorator or by a call."""
    registered = {
        node.args[0].id
        for node in ast.walk(module)
        if isinstance(node, ast.Call) and "command(" in ast.unparse(node.func)
        if node.args and isinstance(node.args[0], ast.Name)
    }
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and (
            node.name in registered or any("command(" in ast.unparse(one) for one in node.decorator_list)
        ):
            yield from _worded(ast.get_docstring(node) or "")


def _joined(node: ast.JoinedStr) -> str:
    return "".join(
        str(part.value) if isinstance(part, ast.Constant) else f"{{{_name(part)}}}"
        for part in node.values
        if isinstance(part, ast.Constant | ast.FormattedValue)
    )


def _name(node: ast.AST) -> str:
    """What a field is called: the last name of its expression."""
    match node:
        case ast.FormattedValue(value=value):
            return _name(value)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Call(func=ast.Attribute(value=ast.Constant(), attr="join"), args=[argument]):
            return _name(argument)
        case ast.Call(func=function, args=[]):
            return _name(function)
        case ast.Call(args=[argument, *_]):
            return _name(argument)
        case ast.IfExp(body=ast.Constant(value=str() as one), orelse=ast.Constant(value=str() as other)):
            return f"{one}|{other}"
        case ast.Subscript(value=value) | ast.Starred(value=value) | ast.Await(value=value):
            return _name(value)
        case ast.GeneratorExp(elt=value) | ast.ListComp(elt=value) | ast.IfExp(body=value) | ast.BinOp(left=value):
            return _name(value)
        case ast.BoolOp(values=[value, *_]):
            return _name(value)
        case _:
            return "…"


def _of_template(text: str) -> Iterator[str]:
    """What a reader of the page sees: the text between tags, and what attributes say of them."""
    text = re.sub(r"(?s){#.*?#}|{%.*?%}|<(style|script)\b.*?</\1>", "\n", text)
    text = re.sub(r"(?s){{(.*?)}}", lambda match: f"{{{_of_expression(match[1])}}}", text)
    for attribute in re.findall(r"(?:aria-label|title|alt|content)=\"([^\"]*)\"", text):
        yield from _worded(attribute)
    for part in re.split(
        r"(?s)</?(?:p|div|section|h[1-6]|td|th|li|ul|tr|table|figure|figcaption|dt|dd|summary)\b.*?>", text
    ):
        yield from _worded(re.sub(r"(?s)<.*?>", "", part))


def _of_expression(expression: str) -> str:
    names = re.findall(r"[a-z_][a-z_0-9]*", expression.split("|")[0])
    return names[-1] if names else "…"


def _of_rules() -> Iterator[str]:
    for kind in KINDS:
        for version in kind.definition()["spec"]["versions"]:
            yield from _of_schema(version["schema"]["openAPIV3Schema"], kind.model.__name__)


def _of_schema(schema: Mapping[str, Any], path: str) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        yield rule["message"]
    for name, part in schema.get("properties", {}).items():
        yield from _of_schema(part, f"{path}.{name}")
    for nested in ("items", "additionalProperties"):
        if isinstance(schema.get(nested), dict):
            yield from _of_schema(schema[nested], path)


def _of_chart(source: Path) -> Iterator[str]:
    match source.name:
        case "NOTES.txt":
            for line in source.read_text("utf-8").splitlines():
                yield from _worded(re.sub(r"{{-? *(?:if|else|end|with|range).*?}}", "", line))
        case "values.yaml":
            yield from _comments(source.read_text("utf-8"))
        case "rules.yaml":
            for group in yaml.safe_load(source.read_text("utf-8"))["groups"]:
                for one in group["rules"]:
                    for text in one.get("annotations", {}).values():
                        yield from _worded(text)
        case name if name.endswith(".json") and source.parent.name == "dashboards":
            yield from _titles(json.loads(source.read_text("utf-8")))
        case name if source.parent.name in ("templates", "tests") and name.endswith((".yaml", ".tpl")):
            text = source.read_text("utf-8")
            for match in re.finditer(
                r"fail \(?(?:printf )?\"((?:[^\"\\]|\\.)*)\"|^ *-? ?message: (.*)$", text, re.MULTILINE
            ):
                yield from _worded((match[1] or match[2]).strip("\"'"))


def _of_makefile(text: str) -> Iterator[str]:
    """What `make help` says of each target, and what recipes print."""
    for match in re.finditer(r"^[a-z-]+:.*?## (.*)$|@echo [\"'](==.*?)[\"']$", text, re.MULTILINE):
        yield from _worded(match[1] or match[2])


def _comments(text: str) -> Iterator[str]:
    """Each run of lines of comment as one text."""
    run: list[str] = []
    for line in [*text.splitlines(), ""]:
        stripped = line.strip()
        if stripped.startswith("#"):
            run.append(stripped.lstrip("# "))
        else:
            yield from _worded(" ".join(run))
            run = []
            if " # " in line:
                yield from _worded(line.split(" # ", 1)[1])


def _titles(document: Any) -> Iterator[str]:
    match document:
        case Mapping():
            for key in ("title", "description", "legendFormat"):
                if isinstance(document.get(key), str):
                    yield from _worded(document[key])
            for part in document.values():
                yield from _titles(part)
        case list():
            for part in document:
                yield from _titles(part)


def _worded(text: str) -> Iterator[str]:
    text = " ".join(text.split())
    if TWO_WORDS.search(text) and re.search(r"[a-z]{2}", text) and text.isprintable() and not CODE.search(text):
        yield text


def main() -> None:
    """Rewrites the file."""
    GOLDEN.write_text(golden(), encoding="utf-8")


if __name__ == "__main__":
    main()
