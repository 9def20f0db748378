"""Runs inside vLLM's image: its own parser and configuration classes judge arguments of `vllm serve`.

Reads [{"name", "argv", "loads", "is_ours"}] from the variable CASES, and prints one JSON line: case -> what is wrong.
"""

# mypy: ignore-errors

import contextlib
import dataclasses
import io
import json
import logging
import os
import typing
import warnings

from vllm.config import SpeculativeConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.utils.argparse_utils import FlexibleArgumentParser

try:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
except ModuleNotFoundError:
    # From 0.33 on.
    from vllm.entrypoints.common.cli_args import make_arg_parser, validate_parsed_serve_args


class Complaints(logging.Handler):
    """Keeps what vLLM logs about deprecation."""

    def __init__(self):
        super().__init__()
        self.found = []

    def emit(self, record):
        """Takes one record."""
        if "deprecated" in record.getMessage():
            self.found.append(record.getMessage())


def speculation_problems(configuration):
    """What SpeculativeConfig does not know of a configuration; draft models need not be there for that."""
    hints = typing.get_type_hints(SpeculativeConfig)
    names = {field.name for field in dataclasses.fields(SpeculativeConfig)}
    methods = set(_literals(hints["method"]))
    unknown = [name for name in configuration if name not in names]
    if configuration["method"] not in methods:
        unknown.append(f"method {configuration['method']}")
    return [f"SpeculativeConfig does not know {name}" for name in unknown]


def _literals(hint):
    if typing.get_origin(hint) is typing.Literal:
        yield from (value for value in typing.get_args(hint) if isinstance(value, str))
    for part in typing.get_args(hint):
        if typing.get_args(part):
            yield from _literals(part)


def flag_problems(argv, parser):
    """Flags that vLLM takes, but not by that name or not for long."""
    for argument in argv[1:]:
        name = argument.partition("=")[0]
        action = parser._option_string_actions.get(name)  # noqa: SLF001  # argparse has no other way to ask
        if action is None:
            yield f"{name} is an abbreviation"
        elif "deprecated" in (action.help or ""):
            yield f"{name} is deprecated"


def problems(case, parser, log):
    """What vLLM has against one case."""
    log.found.clear()
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            arguments = parser.parse_args(case["argv"])
            validate_parsed_serve_args(arguments)
            arguments.model = arguments.model_tag
            found = []
            if case["is_ours"]:
                found += [str(one.message) for one in caught if "deprecated" in str(one.message)]
                found += flag_problems(case["argv"], parser)
            if arguments.speculative_config:
                found += speculation_problems(arguments.speculative_config)
            if case["loads"]:
                AsyncEngineArgs.from_cli_args(arguments).create_engine_config()
    except SystemExit:
        return [said.getvalue().strip().splitlines()[-1]]
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]
    return found + (log.found if case["is_ours"] else [])


def main():
    """Judges all cases with one parser: importing vLLM takes longest."""
    log = Complaints()
    logging.getLogger("vllm").addHandler(log)
    parser = make_arg_parser(FlexibleArgumentParser())
    cases = json.loads(os.environ["CASES"])
    found = {case["name"]: problems(case, parser, log) for case in cases}
    print(json.dumps({name: wrong for name, wrong in found.items() if wrong}))


if __name__ == "__main__":
    main()
