"""What every part of the API shares: names, the base class, bounded types and the markers for the CRD generator."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Self, TypeVar, cast

from pydantic import Field, ValidationError

from mtp_operator.measures.quantities import Record

GROUP: Final = "mtp-operator.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

MAX_BLOCK_SIZE: Final = 1024
"""Most tokens of one block of a drafter that drafts whole blocks."""

MAX_N_SPEC: Final = 16
"""The largest n_spec that the API accepts; published curves peak between 2 and 8."""

LEAST_CONTEXT_TOKENS: Final = 1024
"""Smallest context of a request: the default output and a prompt fit into it."""

N_GRAM_LOOKUP_TOKENS: Final = 4
"""Tokens that NGram looks for earlier in the request: shorter ones are found often and mean little."""

MAX_LEVELS: Final = 4
"""Concurrency levels of one workload: their results fit into one termination message."""

MAX_CONSTRAINTS: Final = 4
"""Limits on latencies of one workload, over all its levels."""

MAX_CATEGORIES: Final = 8
"""Categories of prompts of one workload."""

MAX_WARNINGS: Final = 8
"""Tolerated faults that are told of one trial."""

MAX_WINDOWS: Final = 32
"""Throughput windows kept of one level of one trial."""

MAX_POSITIONS: Final = 10**6
"""Output tokens of one trial whose scores are believed."""

MAX_MEASURE: Final = 1e9
"""The largest speed in tokens per second, time in milliseconds or gap in nats that is believed."""

Positions = Annotated[int, Field(ge=0, le=MAX_POSITIONS)]


S = TypeVar("S", bound="Schema")


class Schema(Record):
    """Base of every API type."""

    def to_wire(self) -> dict[str, Any]:
        """The object as it goes to the API server: camelCase keys, absent fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def replace(self, **changes: Any) -> Self:
        """The object with other values in these fields.

        Raises:
            TypeError: it has no such field.
            pydantic.ValidationError: a value is not what the field takes.
        """
        unknown = changes.keys() - type(self).model_fields.keys()
        if unknown:
            raise TypeError(f"{type(self).__name__} has no field {', '.join(sorted(unknown))}")
        return type(self)(**(dict(self) | changes))

    def part(self, base: type[S], **changes: Any) -> S:
        """What the object is as one of a base of its type: values are valid already, and are not validated again.

        Args:
            base: a base of its type.
            changes: other values of fields, which have to be valid.
        """
        values = {name: getattr(self, name) for name in base.model_fields} | changes
        return cast(S, base.model_construct(**values))


def rule(
    expression: str, message: str, *, field_path: str | None = None, message_expression: str | None = None
) -> dict[str, str]:
    """One CEL rule (`x-kubernetes-validations`) with the message that a person reads when it is broken.

    The API server evaluates every rule that it can, also beside other errors: a rule must hold where another one, or a
    bound, already speaks of the same mistake.

    Args:
        expression: CEL over `self`.
        message: what is allowed; the name of the field is put before it.
        field_path: the field that the message is about, relative to `self` and with a leading dot. Default: `self`.
        message_expression: CEL that gives a more exact message, for instance with the value in question.
    """
    optional = {"fieldPath": field_path, "messageExpression": message_expression}
    return {"rule": expression, "message": message} | {key: text for key, text in optional.items() if text is not None}


def validated(*rules: Mapping[str, str], **extra: Any) -> dict[str, Any]:
    """`json_schema_extra` with CEL rules and further `x-kubernetes-…` keywords."""
    return {**({"x-kubernetes-validations": [dict(one) for one in rules]} if rules else {}), **extra}


def first_problem(error: ValidationError) -> str:
    """Where a document is wrong first, and why, in a few words."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"]


DecimalString = Annotated[str, Field(max_length=24, pattern=r"^-?[0-9]+(\.[0-9]+)?$")]
"""A decimal number as a string: the API holds no floats."""

Timestamp = Annotated[str, Field(max_length=32, json_schema_extra={"format": "date-time"})]
"""RFC 3339 in UTC with seconds, as Kubernetes writes it."""
