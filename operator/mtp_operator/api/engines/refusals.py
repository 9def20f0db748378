"""One table of what is refused, said twice: in CEL for the API server, in Python for the operator and `mtp render`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mtp_operator.api.base import rule

FORM: Final = r"^--[a-z0-9][-a-z0-9_]*([.][-A-Za-z0-9_.]+[+]?)?(=[^\\n\\r]*)?$"
"""One flag as engines take it: --flag, --flag=value, --flag_name=value, and vLLM's --flag.key=value."""

_FORM_SAYS: Final = "must be one long flag in lower case, with its value after '=': --flag or --flag=value"

_DISGUISE: Final = "^[^=]*=-+[A-Za-z]"
_DISGUISE_SAYS: Final = (
    "must not have a value that begins with '-' and a letter: llama-server would take it for a flag of its own"
)


@dataclass(frozen=True)
class Floor:
    """The oldest version of an engine that works.

    Attributes:
        older: a regular expression for tags of the engine's own images below it.
        message: what is allowed, and why.
    """

    older: str
    message: str


@dataclass(frozen=True)
class Refusal:
    """A flag or a variable that is refused.

    Attributes:
        why: what it does, or where it is set instead; follows the flag's name in a message.
        but: values that do no harm, as the engine's default or what the operator itself sets.
    """

    why: str
    but: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """Why, and what is allowed nevertheless."""
        return f"{self.why}; only {' or '.join(self.but)} may be stated" if self.but else self.why


@dataclass(frozen=True)
class _Table:
    refused: Mapping[str, Refusal]

    @property
    def reasons(self) -> dict[str, str]:
        """Name -> why it is refused."""
        return {name: refusal.reason for name, refusal in sorted(self.refused.items())}

    @property
    def _harmless(self) -> list[str]:
        return sorted(f"{name}={value}" for name, refusal in self.refused.items() for value in refusal.but)


@dataclass(frozen=True)
class Flags(_Table):
    """Flags that are refused. The beginning of one is refused too, because vLLM takes it for the whole.

    Attributes:
        allowed: flags of an engine that a refused one begins with.
    """

    allowed: Sequence[str] = ()

    def rules(self) -> tuple[dict[str, str], ...]:
        """CEL over one argument."""
        spelled = "self.replace('_', '-')"
        name = f"{spelled}.split('=')[0].split('.')[0]"
        harmless = [_as_flag(one) for one in self._harmless]
        matches = f"{sorted(self.refused)!r}.filter(flag, flag.startsWith({name}))"
        return (
            rule(f"self.matches('{FORM}')", _FORM_SAYS),
            rule(f"!self.matches('{_DISGUISE}')", _DISGUISE_SAYS),
            rule(
                f"!self.matches('^--[a-z0-9]') || {name} in {list(self.allowed)!r} || {spelled} in {harmless!r} || "
                f"{matches}.size() == 0",
                "must not be a flag that another field or the operator sets, that spoils the measurement or that "
                "clients could misuse, nor the beginning of one; the API reference lists them",
                message_expression=f"'must not be ' + {matches}[0] + ', which ' + {self.reasons!r}[{matches}[0]]",
            ),
        )

    def complaints(self, arguments: Sequence[str]) -> Iterator[str]:
        """What the rules say against arguments, one sentence each."""
        for place, argument in enumerate(arguments):
            if complaint := self._complaint(argument):
                yield f"spec.engine.extraArgs[{place}]: {complaint}"

    def _complaint(self, argument: str) -> str:
        if not re.fullmatch(FORM.replace(r"\\", "\\"), argument):
            return _FORM_SAYS
        if re.match(_DISGUISE, argument):
            return _DISGUISE_SAYS
        spelled = _as_flag(argument)
        name = spelled.split("=")[0].split(".")[0]
        if name in self.allowed or spelled in map(_as_flag, self._harmless):
            return ""
        found = next((flag for flag in sorted(self.refused) if flag.startswith(name)), None)
        return f"must not be {found}, which {self.refused[found].reason}" if found else ""


@dataclass(frozen=True)
class Variables(_Table):
    """Environment variables that are refused; an asterisk stands for any ending."""

    def rule(self) -> dict[str, str]:
        """CEL over a variable with its name and value."""
        matches = (
            f"{sorted(self.refused)!r}.filter(one, one.endsWith('*') ? "
            "self.name.startsWith(one.substring(0, one.size() - 1)) : self.name == one)"
        )
        return rule(
            f"(self.name + '=' + self.value) in {self._harmless!r} || {matches}.size() == 0",
            "must not be a variable that the operator sets, that changes where models come from, opens the network or "
            "runs code; the API reference lists them",
            field_path=".name",
            message_expression=f"'must not be ' + self.name + ', which ' + {self.reasons!r}[{matches}[0]]",
        )

    def complaints(self, variables: Mapping[str, str]) -> Iterator[str]:
        """What the rule says against variables, one sentence each."""
        for place, (name, value) in enumerate(variables.items()):
            found = next((one for one in sorted(self.refused) if _is_named(one, name)), None)
            if found and f"{name}={value}" not in self._harmless:
                yield f"spec.engine.env[{place}].name: must not be {name}, which {self.refused[found].reason}"


def _as_flag(argument: str) -> str:
    """Engines take an underscore for a dash."""
    return argument.replace("_", "-")


def _is_named(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
