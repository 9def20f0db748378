"""A hub, or a mirror, that means harm: what it says is checked before it becomes a path, a length or a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest
from huggingface_hub import constants

from mtp_operator.api.conditions import printable
from mtp_operator.api.fetch import FetchResult
from mtp_operator.api.weights_source import FetchedSource
from mtp_operator.fetch.compile_cache import copy_cache
from mtp_operator.fetch.fetch_errors import FetchError
from mtp_operator.fetch.fetch_program import redacted
from mtp_operator.fetch.hub import _check_destination
from tests.hub import Hub, Repository

from .fetching import NAME, TOKEN, Fetching, secret

COMMIT = "a" * 40


def folders(claim: Path) -> set[str]:
    """What there is on the claim and beside it."""
    beside = {path.name for path in claim.parent.iterdir()} - {"claim", "repository", "termination-log", "token"}
    return beside | {path.name for path in claim.iterdir()}


@pytest.mark.parametrize(
    ("commit", "pinned"),
    [
        ("../../../cache/0123456789abcdef", None),
        ("../../../cache/0123456789abcdef", COMMIT),
        ("../../../../outside", None),
        ("main", COMMIT),
        ("A" * 40, None),
        ("a" * 41, COMMIT),
        ("", None),
        ("b" * 40, COMMIT),
    ],
)
def test_a_commit_that_is_none_or_another_writes_nothing(
    commit: str, pinned: str | None, hub: Hub, claim: Path
) -> None:
    hub.faults.commit = commit

    reason, message = Fetching(hub, claim, revision=pinned).fails()

    assert reason == "HubRefused"
    assert "commit" in message
    assert folders(claim) <= {"cache"}


@pytest.mark.parametrize(
    "changes",
    [
        {"rfilename": "../../../models/good/model/x/model.safetensors"},
        {"rfilename": "/etc/model.safetensors"},
        {"rfilename": "a/./model.safetensors"},
        {"rfilename": "a//model.safetensors"},
        {"rfilename": "model.safetensors/"},
        {"rfilename": ""},
        {"rfilename": "a\x00b.safetensors"},
        {"rfilename": "a\x1b[2Jb.safetensors"},
        {"rfilename": "a\nb.safetensors"},
        {"rfilename": "a\u202eb.safetensors"},
        {"rfilename": "x" * 300 + ".safetensors"},
        {"rfilename": "/".join(["x" * 200] * 6) + ".safetensors"},
        {"rfilename": "config.json/model.safetensors"},
        {"rfilename": "config.json"},
        {"lfs": {"sha256": "0" * 64, "size": -1, "pointerSize": 1}, "size": -1},
        {"lfs": {"sha256": "0" * 64, "size": 1, "pointerSize": 1}, "size": 10**30},
        {"size": "3"},
        {"size": 1.5},
        {"blobId": None, "lfs": None},
        {"blobId": "../x", "lfs": None},
        {"lfs": {"sha256": "", "size": 1, "pointerSize": 1}},
    ],
    ids=lambda changes: ascii(changes)[:40],
)
def test_a_listing_that_no_hub_makes_is_refused(changes: dict[str, Any], hub: Hub, claim: Path) -> None:
    large = next(file for file in hub.listing(NAME) if file["rfilename"].endswith(".safetensors"))
    large.update(changes)

    reason, message = Fetching(hub, claim).fails()

    assert reason == "HubRefused"
    assert message == printable(message)
    assert folders(claim) <= {"cache"}


def test_a_file_that_does_not_end_fills_no_claim(hub: Hub, claim: Path) -> None:
    hub.faults.surplus = 300_000_000
    most = 0

    def watch(_: int) -> None:
        nonlocal most
        most = max(most, sum(path.stat().st_size for path in claim.rglob("*.safetensors") if path.exists()))

    hub.watch = watch
    reason, message = Fetching(hub, claim).fails()

    assert reason == "WrongHash"
    assert "wrong size or hash" in message
    assert most < 7_000_000


@pytest.mark.parametrize(
    "token",
    [
        "-----BEGIN A KEY OF THE TEST-----\nMIIEvQIBADANBgkq\n-----END A KEY OF THE TEST-----\n",
        "hf_abcdef\nhf_second",
        "hf_abcdef\r\n#_mine",
        "hf_abc\x00defghijk",
        "hf_abc\x1b[2Jdefghijk",
        "hf_abcdefé",
        "hf_abcd hf_efgh",
        "h" * 5000,
    ],
    ids=range(8),
)
def test_a_secret_that_is_no_token_stays_secret(token: str, hub: Hub, claim: Path) -> None:
    process = Fetching(hub, claim, more=secret(claim, token)).start()
    output, _ = process.communicate(timeout=60)
    left = (claim.parent / "termination-log").read_text()

    result = FetchResult.model_validate_json(left)
    assert result.failure is not None
    assert result.failure.reason == "TokenUnreadable"
    assert "tokenSecretRef" in result.failure.message
    for part in [word for word in token.split() if len(word) > 4]:
        assert part[:7] not in output + left
    assert hub.requests == []


def test_a_hub_that_quotes_the_token_is_not_repeated(hub: Hub, claim: Path) -> None:
    """An answer that cannot be parsed is quoted by the client's error."""
    hub.faults.status_line = f"HTTP/1.1 {TOKEN} {TOKEN}\r\n\r\n"
    fetching = Fetching(hub, claim, more=secret(claim, TOKEN))
    process = fetching.start()
    output, _ = process.communicate(timeout=120)

    assert TOKEN not in output + fetching.log.read_text()
    assert "HubUnavailable" in fetching.log.read_text()


def test_a_token_is_taken_out_of_every_text() -> None:
    assert redacted("Bearer hf_x, again hf_x", "hf_x") == "Bearer [the token], again [the token]"
    assert redacted("nothing", None) == "nothing"


@pytest.mark.parametrize(
    ("endpoint", "asked", "is_refused"),
    [
        ("https://hub.example", "https://hub.example/x", False),
        ("https://hub.example", "https://cdn.example/x", False),
        ("https://hub.example", "http://cdn.example/x", True),
        ("https://hub.example", "http://hub.example/x", True),
        ("https://hub.example", "https://169.254.169.254/latest", True),
        ("http://hub.example", "http://169.254.169.254/latest", True),
        ("http://hub.example", "http://127.0.0.1:8080/x", True),
        ("http://hub.example", "http://[::1]:8080/x", True),
        ("http://hub.example", "http://[fe80::1]/x", True),
        ("http://hub.example", "http://10.0.0.7/x", False),
        ("http://10.0.0.7", "http://10.0.0.7/x", False),
    ],
)
def test_a_redirect_leads_only_to_the_network(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, asked: str, *, is_refused: bool
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    request = httpx2.Request("GET", asked)

    if is_refused:
        with pytest.raises(FetchError, match="the hub redirects to"):
            _check_destination(request)
    else:
        _check_destination(request)


def test_a_redirect_to_the_nodes_metadata_is_not_followed(hub: Hub, claim: Path) -> None:
    hub.faults.redirects_to = "http://169.254.169.254/latest/meta-data"

    reason, message = Fetching(hub, claim).fails()

    assert reason == "HubRefused"
    assert "169.254.169.254" in message


def test_a_file_whose_name_is_no_uri_says_so(tmp_path: Path, claim: Path) -> None:
    folder = tmp_path / "repository"
    folder.mkdir(exist_ok=True)
    (folder / "a model+.gguf").write_bytes(b"1")

    with Hub(Repository(NAME, folder)) as running:
        reason, message = Fetching(running, claim, uri=f"hf://{NAME}/*.gguf").fails()

    assert reason == "FileNameUnusable"
    assert "rename it" in message


@pytest.mark.parametrize(
    ("uri", "revision"),
    [
        ("hf://llm/tiny", "../../../cache/0123456789abcdef"),
        ("hf://llm/tiny", "a" * 39),
        ("hf://../tiny", COMMIT),
        ("hf://llm/tiny/../x", COMMIT),
        ("hf://llm/tiny/*.gguf", COMMIT),
        ("hf://llm", COMMIT),
        ("pvc://claim/x", COMMIT),
        ("hf://llm/tiny\n", COMMIT),
    ],
)
def test_what_a_fetch_says_it_has_fetched_is_a_path_or_nothing(uri: str, revision: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        FetchedSource(uri=uri, revision=revision)


def test_a_cache_with_links_is_copied_without_them(tmp_path: Path) -> None:
    shared, own = tmp_path / "shared", tmp_path / "own"
    (shared / "deep").mkdir(parents=True)
    (shared / "deep" / "zero").symlink_to("/dev/zero")
    (shared / "out").symlink_to("/etc")
    (shared / "kept").write_bytes(b"1")

    copy_cache(shared, own)

    assert [str(path.relative_to(own)) for path in sorted(own.rglob("*"))] == ["deep", "kept"]


def test_a_cache_is_not_copied_beyond_what_a_servers_volume_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtp_operator.fetch.compile_cache.MOST_BYTES", 10)
    (tmp_path / "shared").mkdir()
    for name in ("a", "b"):
        (tmp_path / "shared" / name).write_bytes(b"1" * 8)

    copy_cache(tmp_path / "shared", tmp_path / "own")

    assert len(list((tmp_path / "own").iterdir())) == 1
