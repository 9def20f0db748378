"""The fetch container's program: from a plan to whole, verified files, and a termination message."""

import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from mtp_operator.api.conditions import shorten
from mtp_operator.api.fetch import (
    MESSAGE_LIMIT,
    PERMANENT_FAILURE,
    PROGRESS_PORT,
    FetchFailure,
    FetchPlan,
    FetchResult,
    FetchStage,
    PlannedSource,
    folder_of,
    hub_parts,
)
from mtp_operator.api.weights_source import HUB_SCHEME, FetchedSource

from .checkpoint import CONFIGURATION, LARGEST_CONFIGURATION, block_size
from .fetch_errors import FetchError, StoppedError
from .hub import Hub
from .listing import RemoteFile
from .progress_server import Meter, serve
from .selection import select
from .store import Store, claim_errors, make_cache

FILES_AT_ONCE: Final = 4
"""One connection to the hub seldom fills the line."""

LONGEST_TOKEN: Final = 512
_TOKEN: Final = re.compile(rf"[!-~]{{1,{LONGEST_TOKEN}}}")

INTERRUPTED: Final = 128 + signal.SIGTERM


def main(plan: FetchPlan, termination_log: Path, port: int = PROGRESS_PORT) -> int:
    """Fetches everything of the plan, and leaves its result in the termination message.

    Args:
        plan: what to fetch.
        termination_log: the file whose content kubelet makes the container's termination message.
        port: where progress is told; 0 chooses a free one.

    Returns:
        The exit status: 0, `PERMANENT_FAILURE`, or 1 where a later attempt may work.
    """
    # At once, also out of a read that waits: what has been written stays, and the next pod goes on from there.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(INTERRUPTED))
    meter = Meter()
    server = serve(meter, port)
    print(f"reporting progress on port {server.server_port}", flush=True)
    token = None
    try:
        token = _token(plan)
        result = Fetch(plan, meter, token).run()
    except Exception as error:
        known = error if isinstance(error, FetchError) else _unexpected(error)
        if known is not error:
            print(redacted(traceback.format_exc(), token), file=sys.stderr)
        failure = FetchFailure(reason=known.reason, message=shorten(redacted(str(known), token), MESSAGE_LIMIT))
        termination_log.write_text(FetchResult(failure=failure).to_json())
        print(f"{failure.reason}: {failure.message}", file=sys.stderr, flush=True)
        return PERMANENT_FAILURE if known.is_permanent else 1
    termination_log.write_text(result.to_json())
    print(result.to_json(), flush=True)
    return 0


def redacted(text: str, token: str | None) -> str:
    """The text without the token: whatever leaves this program goes through here."""
    return text.replace(token, "[the token]") if token else text


def _unexpected(error: Exception) -> FetchError:
    """A failure that nobody foresaw: its own text may quote anything."""
    return FetchError(
        "FetchFailed", f"the fetch failed ({type(error).__name__}): see the pod's log", is_permanent=False
    )


class Fetch:
    """One execution of a plan."""

    def __init__(self, plan: FetchPlan, meter: Meter, token: str | None) -> None:
        self._plan = plan
        self._claim = Path(plan.folder)
        self._meter = meter
        self._stop = threading.Event()
        self._hub = Hub(token, self._stop, plan.ca_file)

    def run(self) -> FetchResult:
        """Fetches what is not there yet.

        Raises:
            FetchError: it cannot.
        """
        with claim_errors():
            make_cache(self._claim)
            found = [self._find(source) for source in self._plan.sources]
            for source, files in found:
                self._fetch(source, files)
            fetched = tuple(source.replace(block_size=self._block_size(source, files)) for source, files in found)
        return FetchResult(fetched=fetched, total_bytes=self._meter.total_bytes)

    def _find(self, source: PlannedSource) -> tuple[FetchedSource, tuple[RemoteFile, ...]]:
        """The source without doubt, and its files."""
        repository, path = hub_parts(source.uri)
        listing = self._hub.list_files(repository, source.revision)
        try:
            files, entry = select(listing.files, path)
            if source.projector is not None:
                files += tuple(file for file in select(listing.files, source.projector)[0] if file not in files)
        except FetchError as error:
            raise FetchError(error.reason, f"hf://{repository} at {listing.commit}: {error}") from error
        uri = HUB_SCHEME + "/".join(part for part in (repository, entry) if part)
        try:
            fetched = FetchedSource(uri=uri, revision=listing.commit)
        except ValidationError as error:
            message = f"{entry} of hf://{repository} has a name that a URI cannot state: rename it in the repository"
            raise FetchError("FileNameUnusable", message) from error
        self._meter.follow(self._store(fetched), files)
        return fetched, files

    def _store(self, source: FetchedSource) -> Store:
        return Store(self._claim, folder_of(source))

    def _fetch(self, source: FetchedSource, files: tuple[RemoteFile, ...]) -> None:
        store, (repository, _) = self._store(source), hub_parts(source.uri)
        self._meter.stage = FetchStage.WAITING
        with store.locked():
            self._meter.stage = FetchStage.FETCHING
            store.check_room(files)
            missing = [file for file in files if not store.has(file)]
            self._all(missing, lambda file: self._fetch_file(store, repository, source.revision, file))
            for file in missing:
                store.publish(file)

    def _block_size(self, source: FetchedSource, files: tuple[RemoteFile, ...]) -> int | None:
        """How many tokens the checkpoint drafts at once, where it says so."""
        for file in files:
            if file.path == CONFIGURATION and file.size <= LARGEST_CONFIGURATION:
                return block_size(self._store(source).content(file))
        return None

    def _all(self, files: list[RemoteFile], work: Callable[[RemoteFile], None]) -> None:
        """Several files at once; the first failure ends the others too."""

        def one(file: RemoteFile) -> None:
            try:
                with claim_errors():
                    work(file)
            except BaseException:
                self._stop.set()
                raise

        with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
            futures = [pool.submit(one, file) for file in files]
        errors = [error for error in (future.exception() for future in futures) if error is not None]
        # Those that were stopped because of another one have nothing to say.
        errors.sort(key=lambda error: isinstance(error, StoppedError))
        if errors:
            raise errors[0]

    def _fetch_file(self, store: Store, repository: str, commit: str, file: RemoteFile) -> None:
        self._receive(store, repository, commit, file)
        if not store.is_right(file):
            # Once more from the start: the network or an older attempt may have spoilt it.
            store.discard(file)
            self._receive(store, repository, commit, file)
        if not store.is_right(file):
            store.discard(file)
            message = f"{file.path} of hf://{repository} at {commit} was downloaded twice with a wrong size or hash"
            raise FetchError("WrongHash", message)
        print(f"{file.path}: {file.size} bytes", flush=True)

    def _receive(self, store: Store, repository: str, commit: str, file: RemoteFile) -> None:
        with store.partial(file) as content:
            self._hub.download(repository, commit, file, content)


def _token(plan: FetchPlan) -> str | None:
    if plan.token_file is None:
        return None
    try:
        token = Path(plan.token_file).read_bytes().decode("ascii", "replace").strip()
    except OSError as error:
        message = f"the token of spec.model.tokenSecretRef cannot be read: {error.strerror}"
        raise FetchError("TokenUnreadable", message) from error
    if not token:
        raise FetchError("TokenUnreadable", "the token of spec.model.tokenSecretRef is empty")
    if not _TOKEN.fullmatch(token):
        message = (
            "the key of the Secret that spec.model.tokenSecretRef names does not hold a token: one line of at most "
            f"{LONGEST_TOKEN} printable ASCII characters without blanks"
        )
        raise FetchError("TokenUnreadable", message)
    return token
