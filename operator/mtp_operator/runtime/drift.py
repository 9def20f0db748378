"""Whether an object is still as it was applied."""

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

_QUANTITY: Final = re.compile(r"^([+-]?[0-9.]+)(m|k|[MGTPE]i?|Ki)?$")

_FACTORS: Final[Mapping[str | None, Decimal]] = {
    None: Decimal(1),
    "m": Decimal("0.001"),
    "k": Decimal(10) ** 3,
    **{letter: Decimal(10) ** (3 * power) for power, letter in enumerate("MGTPE", 2)},
    **{f"{letter}i": Decimal(2) ** (10 * power) for power, letter in enumerate("KMGTPE", 1)},
}

_QUANTITIES: Final = frozenset({"limits", "requests", "sizeLimit"})
"""Fields whose values are quantities, which the API server may spell in another way."""

_KEYS: Final = ("mountPath", "name", "containerPort", "uid")
"""Fields that identify the items of a list to which somebody else may add items."""


def drift(applied: Any, live: Any, path: str = "", *, is_quantity: bool = False) -> Iterator[str]:
    """The fields that were applied and are different now, as paths.

    What others have added is no drift: defaults of the API server, items of a list that are told apart by a key.

    Args:
        applied: an object or a part of it, as it was applied.
        live: the same as it is now.
        path: where that part is.
        is_quantity: whether it is a quantity, or holds quantities.
    """
    if isinstance(applied, Mapping):
        if not isinstance(live, Mapping):
            yield path
            return
        for name, value in applied.items():
            yield from drift(value, live.get(name), f"{path}.{name}", is_quantity=is_quantity or name in _QUANTITIES)
    elif isinstance(applied, Sequence) and not isinstance(applied, str):
        yield from _drift_of_list(applied, live, path)
    elif applied != live and not (is_quantity and _quantity(applied) == _quantity(live) is not None):
        yield path


def _drift_of_list(applied: Sequence[Any], live: Any, path: str) -> Iterator[str]:
    if not isinstance(live, Sequence) or isinstance(live, str):
        if live is not None or applied:
            yield path
        return
    key = next((one for one in _KEYS if _identifies(one, applied)), None)
    if key is not None:
        items = {repr(item.get(key)): item for item in live if isinstance(item, Mapping)}
        pairs = [(item, items.get(repr(item[key]))) for item in applied]
    elif len(applied) != len(live):
        yield path
        return
    else:
        pairs = list(zip(applied, live, strict=True))
    for index, (mine, other) in enumerate(pairs):
        yield from drift(mine, other, f"{path}[{index}]")


def _identifies(key: str, items: Sequence[Any]) -> bool:
    """Whether every item has this field, and no two of them the same value in it."""
    values = {repr(item[key]) for item in items if isinstance(item, Mapping) and key in item}
    return bool(items) and len(values) == len(items)


def _quantity(value: Any) -> Decimal | None:
    match = _QUANTITY.match(str(value))
    return Decimal(match[1]) * _FACTORS[match[2]] if match else None
