"""A claim whose file system has no locks, as Lustre without flock."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from mtp_operator.fetch.store import Store


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK], ids=lambda code: errno.errorcode[code])
def test_where_there_are_no_locks_a_fetch_goes_ahead(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)

    with Store(tmp_path, "llm/tiny/" + "a" * 40).locked():
        pass


def test_a_claim_that_fails_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "i/o error")

    monkeypatch.setattr(fcntl, "flock", fail)

    with pytest.raises(OSError, match="i/o error"), Store(tmp_path, "llm/tiny/" + "a" * 40).locked():
        pass
