"""The claim: where files lie while they come and when they are whole, and who may write to them.

models/<organization>/<repository>/<commit>/…    whole and verified: a file appears there by a rename
fetching/<organization>/<repository>/<commit>/…  what has come so far of the others, and the lock
cache/<name>/                                    an engine's compile cache
"""

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from mtp_operator.api.fetch import CACHE_FOLDER, MODELS_FOLDER

from .fetch_errors import FetchError
from .listing import RemoteFile

FETCHING_FOLDER: Final = "fetching"

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_RIGHT: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_WITHOUT_LOCKS: Final = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK})
_READ_BYTES: Final = 1 << 20


@contextmanager
def claim_errors() -> Iterator[None]:
    """Says what the volume's errors mean.

    Raises:
        FetchError: the volume is full, or may not be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            message = f"the PVC is full ({os.strerror(error.errno)}): free or enlarge it"
            raise FetchError("ClaimFull", message) from error
        if error.errno in _NO_RIGHT:
            message = f"the PVC cannot be written by user {os.getuid()} ({os.strerror(error.errno)})"
            raise FetchError("ClaimNotWritable", message) from error
        raise FetchError("ClaimFailed", f"the PVC fails: {error}", is_permanent=False) from error


def make_cache(claim: Path) -> None:
    """Makes the folder of the compile caches: made by kubelet, for its mount, it would be root's."""
    (claim / CACHE_FOLDER).mkdir(exist_ok=True)


class Store:
    """The files of one repository at one commit on a claim.

    Args:
        claim: where the claim is mounted.
        folder: <organization>/<repository>/<commit>.
    """

    def __init__(self, claim: Path, folder: str) -> None:
        self._claim = claim
        self._whole = claim / MODELS_FOLDER / folder
        self._fetching = claim / FETCHING_FOLDER / folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Waits until nobody else fetches the same: its files are then found here.

        The lock goes with its holder. Where a file system has no locks, two fetches write the same bytes twice.
        """
        self._fetching.mkdir(parents=True, exist_ok=True)
        with self._fetching.with_name(f"{self._fetching.name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in _WITHOUT_LOCKS:
                    raise
            yield

    def has(self, file: RemoteFile) -> bool:
        """Whether the file is there, whole; it was verified before it came there."""
        path = self._whole / file.path
        return path.is_file() and path.stat().st_size == file.size

    def fetched_bytes(self, file: RemoteFile) -> int:
        """What is there of the file."""
        # In the order in which a file wanders: otherwise it could be missed on its way.
        for path in (self._fetching / file.path, self._whole / file.path):
            if path.is_file():
                return min(path.stat().st_size, file.size)
        return 0

    def check_room(self, files: tuple[RemoteFile, ...]) -> None:
        """Whether the rest of the files fits.

        Raises:
            FetchError: it does not.
        """
        missing = sum(file.size - self.fetched_bytes(file) for file in files)
        free = shutil.disk_usage(self._claim).free
        if missing > free:
            message = f"{_gigabytes(missing)} are still to come, the PVC has room for {_gigabytes(free)}: enlarge it"
            raise FetchError("ClaimFull", message)

    @contextmanager
    def partial(self, file: RemoteFile) -> Iterator[BinaryIO]:
        """What has come of the file so far, to be written on; it is on the disk before it counts as there."""
        path = self._fetching / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as content:
            if content.seek(0, os.SEEK_END) > file.size:
                content.truncate(0)
            yield content
            content.flush()
            os.fsync(content.fileno())

    def is_right(self, file: RemoteFile) -> bool:
        """Whether all that has come is the file, by size and hash."""
        path = self._fetching / file.path
        return path.stat().st_size == file.size and (
            _sha256(path) == file.sha256 if file.sha256 else _git_sha1(path) == file.git_sha1
        )

    def content(self, file: RemoteFile) -> bytes:
        """What a whole file contains."""
        return (self._whole / file.path).read_bytes()

    def discard(self, file: RemoteFile) -> None:
        """Throws away what has come."""
        (self._fetching / file.path).unlink()

    def publish(self, file: RemoteFile) -> None:
        """Puts the file where engines look for it."""
        target = self._whole / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        (self._fetching / file.path).replace(target)


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _git_sha1(path: Path) -> str:
    """The hash by which git knows a file: of a header with its size, and the content."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as content:
        while part := content.read(_READ_BYTES):
            digest.update(part)
    return digest.hexdigest()


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
