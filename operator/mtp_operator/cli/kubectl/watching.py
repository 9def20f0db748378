"""The loop of `kubectl mtp watch`: asks again every two seconds, which needs no more rights than `status`."""

import sys
import time
from datetime import UTC, datetime
from typing import Final

from rich.live import Live

from .cluster import ClusterError
from .documents import StatusDocument
from .session import FAILED, Output, Session, as_json
from .status_document import status_document
from .watch_view import is_settled, watch_lines, watch_view

PAUSE_SECONDS: Final = 2.0


def watch_model(session: Session, name: str, *, until_settled: bool) -> int:
    """Show the model until the user ends it.

    Args:
        session: where to ask and how to answer.
        name: of the model.
        until_settled: end when nothing is under way any more.

    Returns:
        The exit status: 1 if the model is blocked at the end.
    """
    if session.output is Output.TEXT and session.console.is_terminal:
        with Live(console=session.console, auto_refresh=False) as live:
            return _follow(session, name, live, until_settled=until_settled)
    return _follow(session, name, None, until_settled=until_settled)


def _follow(session: Session, name: str, live: Live | None, *, until_settled: bool) -> int:
    before: StatusDocument | None = None
    while True:
        try:
            after = status_document(session.connection.model(name), session.connection.runs())
        except ClusterError as error:
            # Whoever watches for hours outlasts a restart of the API server.
            if before is None or not error.may_pass:
                raise
            print(f"{error}; asking again", file=sys.stderr, flush=True)
            time.sleep(PAUSE_SECONDS)
            continue
        if live is not None:
            live.update(watch_view(after, datetime.now(UTC), session.console.width), refresh=True)
        elif session.output is Output.JSON:
            if after != before:
                print(as_json(after, indent=None), flush=True)
        else:
            for line in watch_lines(before, after):
                print(line, flush=True)
        if until_settled and is_settled(after):
            return FAILED if any(one.type == "Stalled" and one.status == "True" for one in after.conditions) else 0
        before = after
        time.sleep(PAUSE_SECONDS)
