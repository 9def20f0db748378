"""Flags and variables that no field has: taken over as they are, or left out with the API's own reason."""

from collections.abc import Mapping
from typing import Final

from mtp_operator.api.engines import FLAGS, VARIABLES

from .found import Draft, Flag

_LONGEST: Final = 512
_MOST: Final = 32

_SECRETS: Final = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


def add_argument(draft: Draft, flag: Flag) -> None:
    """Take the flag over into extraArgs, if it may stand there."""
    argument = str(flag)
    refused = [one.partition(": ")[2] for one in FLAGS.complaints([argument])]
    arguments = draft.spec["engine"].setdefault("extraArgs", [])
    if refused:
        draft.leave(argument, refused[0].removeprefix("must not be ").partition(", which ")[2] or refused[0])
    elif len(argument) > _LONGEST:
        draft.leave(argument, f"is longer than {_LONGEST} characters")
    elif argument not in arguments:
        if len(arguments) >= _MOST:
            draft.leave(argument, f"extraArgs take {_MOST} flags")
        else:
            # The last of two wins, as for the engine.
            same = [one for one in arguments if one.partition("=")[0] == argument.partition("=")[0]]
            for one in same:
                arguments.remove(one)
            arguments.append(argument)
    if not arguments:
        del draft.spec["engine"]["extraArgs"]


def add_environment(draft: Draft, environment: Mapping[str, str]) -> None:
    """Take variables over, but for those that are refused, and those that are flags."""
    kept = []
    for name, value in environment.items():
        if name.startswith("LLAMA_ARG_"):
            continue
        refused = list(VARIABLES.complaints({name: value}))
        if name in _SECRETS:
            draft.leave(name, "make a Secret of it and name it in spec.model.tokenSecretRef")
        elif "$" in value:
            draft.leave(f"{name}={value}", "is a variable of a shell, which no engine has; write its value")
        elif refused:
            draft.leave(f"{name}={value}", refused[0].partition(", which ")[2])
        elif len(value) > _LONGEST or len(name) > 64:
            draft.leave(name, f"is longer than {_LONGEST} characters")
        else:
            kept.append({"name": name, "value": value})
    for one in kept[_MOST:]:
        draft.leave(one["name"], f"env takes {_MOST} variables")
    if kept:
        draft.put("engine.env", kept[:_MOST])
