"""Whether the operator of this cluster works: one MTPModel is created, tuned and deleted."""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from mtp_operator.api.conditions import ConditionStatus, ConditionType
from mtp_operator.api.model_status import MTPModelStatus
from mtp_operator.api.verdicts import VerdictType

from .cluster import ClusterError, Connection

PAUSE_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Ending:
    """How the test of a model ended."""

    is_passed: bool
    message: str


def ending(status: MTPModelStatus) -> Ending | None:
    """How the test ended; None while the model is being tuned.

    A tuning that proved nothing is a failure as well: what is tuned here is known to be faster with speculation.
    """
    conditions = {one.type: one for one in status.conditions}
    tuned, stalled = conditions.get(ConditionType.TUNED), conditions.get(ConditionType.STALLED)
    if tuned is not None and tuned.status is ConditionStatus.TRUE:
        return Ending(True, f"Tuned, {tuned.reason}: {tuned.message}")
    if tuned is not None and tuned.reason == VerdictType.INCONCLUSIVE:
        return Ending(False, f"not Tuned, {tuned.reason}: {tuned.message}")
    if stalled is not None and stalled.status is ConditionStatus.TRUE:
        return Ending(False, f"Stalled, {stalled.reason}: {stalled.message}")
    return None


def tune_and_delete(
    connection: Connection,
    manifest: Mapping[str, Any],
    timeout_seconds: float,
    *,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Create the model, wait until it is tuned, print the verdict and delete the model, whatever came of it.

    Args:
        connection: to the namespace of the model.
        manifest: the model.
        timeout_seconds: that the tuning may take.
        monotonic: a clock in seconds.
        sleep: waits for so many seconds.

    Returns:
        Whether it was tuned.

    Raises:
        ClusterError: the model cannot be created or read.
    """
    name = manifest["metadata"]["name"]
    what = f"MTPModel {name} in namespace {connection.namespace}"
    try:
        connection.create_model(manifest)
    except ClusterError as error:
        if error.status != HTTPStatus.CONFLICT:
            raise
        hint = f"delete it: kubectl delete mtpmodel {name} -n {connection.namespace}"
        raise ClusterError(f"{what} already exists, left by a test that was killed; {hint}", error.status) from None
    print(f"{what}: created", flush=True)
    try:
        end = _wait(connection, name, monotonic() + timeout_seconds, monotonic, sleep)
        print(f"{what}: {end.message if end else _too_late(connection, name, timeout_seconds)}", flush=True)
    finally:
        _delete(connection, name, what)
    return end is not None and end.is_passed


def _wait(
    connection: Connection,
    name: str,
    deadline: float,
    monotonic: Callable[[], float],
    sleep: Callable[[float], None],
) -> Ending | None:
    shown = None
    while True:
        try:
            status = connection.model(name).status
        except ClusterError as error:
            if not error.may_pass:
                raise
            print(f"{error}; asking again", file=sys.stderr, flush=True)
        else:
            if status.summary != shown:
                shown = status.summary
                print(f"  {shown}", flush=True)
            if end := ending(status):
                return end
        if monotonic() >= deadline:
            return None
        sleep(PAUSE_SECONDS)


def _too_late(connection: Connection, name: str, timeout_seconds: float) -> str:
    status = connection.model(name).status
    ready = next((one for one in status.conditions if one.type == ConditionType.READY), None)
    why = f"{ready.reason}: {ready.message}" if ready else "the operator has not seen it; does it watch this namespace?"
    return f"not Tuned within {timeout_seconds:g} s: {why}"


def _delete(connection: Connection, name: str, what: str) -> None:
    try:
        connection.delete_model(name)
    except ClusterError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            print(f"{error}; {what} is left, delete it by hand", file=sys.stderr)
    else:
        print(f"{what}: deleted")
