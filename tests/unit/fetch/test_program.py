"""The fetch program as kubelet runs it: a process of its own, a hub on a real socket, a termination message."""

from __future__ import annotations

import os
import random
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from mtp_operator.api.fetch import FetchProgress, path_of
from mtp_operator.fetch.checkpoint import block_size
from mtp_operator.fetch.fetch_errors import FetchError
from mtp_operator.fetch.hub import Hub as RealHub
from mtp_operator.fetch.progress_server import Meter, serve
from tests.hub import Hub, Repository

from .fetching import NAME, TOKEN, Fetching, assert_whole, secret


def test_a_repository_is_fetched_as_an_engine_needs_it(hub: Hub, claim: Path, repository: Repository) -> None:
    status, result = Fetching(hub, claim).run()

    assert status == 0
    (fetched,) = result.fetched
    assert (fetched.uri, fetched.revision) == (f"hf://{NAME}", repository.commit)
    assert path_of(fetched) == f"{NAME}/{repository.commit}"
    assert result.total_bytes == 6_000_003
    assert_whole(claim, repository)
    assert (claim / "cache").is_dir()
    assert [path for path in (claim / "fetching").rglob("*") if path.is_file() and path.suffix != ".lock"] == []
    modes = {path.stat().st_mode & 0o777 for path in (claim / "models").rglob("*")}
    assert modes == {0o755, 0o644}


def test_a_drafter_of_blocks_says_how_long_they_are(claim: Path, tmp_path: Path) -> None:
    folder = tmp_path / "drafter"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_text('{"dflash_config": {"block_size": 16}}')

    with Hub(Repository(NAME, folder)) as hub:
        _, result = Fetching(hub, claim).run()

    assert result.fetched[0].block_size == 16


@pytest.mark.parametrize(
    ("content", "size"),
    [
        ('{"block_size": 16}', 16),
        ('{"dspark_block_size": 5, "block_size": 8}', 5),
        ('{"text_config": {"dspark_block_size": 5}}', 5),
        ('{"dflash_config": null, "block_size": "16"}', None),
        ('{"block_size": true}', None),
        ('{"block_size": 0}', None),
        ('{"block_size": 1000000}', None),
        ("{}", None),
        ("[1]", None),
        ("{", None),
        ("[" * 100_000, None),
        ("\ufffe", None),
    ],
)
def test_whatever_a_configuration_contains(content: str, size: int | None) -> None:
    assert block_size(content.encode("utf-16" if content == "\ufffe" else "utf-8")) == size


def test_what_is_there_is_not_fetched_again(hub: Hub, claim: Path, repository: Repository) -> None:
    Fetching(hub, claim).run()
    before = hub.bytes_sent

    status, result = Fetching(hub, claim, revision=repository.commit).run()

    assert (status, hub.bytes_sent - before) == (0, 0)
    assert result.fetched[0].revision == repository.commit


def test_two_fetches_of_the_same_at_the_same_time_fetch_once(hub: Hub, claim: Path, repository: Repository) -> None:
    first, second = Fetching(hub, claim).start(), Fetching(hub, claim).start()

    assert (first.wait(60), second.wait(60)) == (0, 0)
    first.communicate()
    second.communicate()
    assert_whole(claim, repository)
    assert hub.bytes_sent == 6_000_003


def test_a_fetch_that_is_killed_again_and_again_resumes(claim: Path, tmp_path: Path) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    generator = random.Random(20)
    (folder / "model.safetensors").write_bytes(generator.randbytes(80_000_000))
    (folder / "config.json").write_text("{}")
    repository = Repository(NAME, folder)
    size = sum(path.stat().st_size for path in folder.iterdir())
    kills = sorted(generator.randrange(size) for _ in range(20))

    with Hub(repository) as hub:
        process = None

        one_at_a_time = threading.Lock()

        def kill(sent: int) -> None:
            # What is under way to a dead receiver counts as sent, too: a kill is for a process that lives.
            with one_at_a_time:
                if kills and sent >= kills[0] and process is not None and process.poll() is None:
                    kills.pop(0)
                    process.send_signal(generator.choice((signal.SIGKILL, signal.SIGTERM)))
                    process.wait()

        hub.watch = kill
        ends: list[int] = []
        while not ends or ends[-1] != 0:
            process = Fetching(hub, claim).start()
            process.communicate()
            ends.append(process.returncode)
            assert len(ends) <= 21

        assert not kills
        assert len(ends) == 21
        assert_whole(claim, repository, {"model.safetensors", "config.json"})
        print(f"{hub.bytes_sent / size:.3f} x the size was sent")
        assert hub.bytes_sent <= 1.3 * size


def test_cut_connections_are_taken_up_where_they_broke(hub: Hub, claim: Path, repository: Repository) -> None:
    hub.faults.cuts = [500_000, 1, 1_000_000, 900_000]

    status, _ = Fetching(hub, claim).run()

    assert status == 0
    assert_whole(claim, repository)
    assert hub.bytes_sent <= 1.3 * 6_000_003


def test_a_server_that_knows_no_ranges_is_fetched_from_the_start(hub: Hub, claim: Path, repository: Repository) -> None:
    hub.faults.ignores_range = True
    hub.faults.cuts = [500_000]

    assert Fetching(hub, claim).run()[0] == 0
    assert_whole(claim, repository)


def test_a_wrong_hash_is_fetched_once_more(hub: Hub, claim: Path, repository: Repository) -> None:
    hub.faults.wrong["model-00001-of-00002.safetensors"] = 1
    hub.faults.wrong["config.json"] = 1

    assert Fetching(hub, claim).run()[0] == 0
    assert_whole(claim, repository)


def test_a_hash_that_stays_wrong_leaves_nothing_to_see(hub: Hub, claim: Path) -> None:
    hub.faults.wrong["model-00001-of-00002.safetensors"] = 2

    reason, message = Fetching(hub, claim).fails()

    assert reason == "WrongHash"
    assert "model-00001-of-00002.safetensors" in message
    assert not (claim / "models").exists()


def test_what_an_older_attempt_spoilt_is_found_out_after_a_resume(
    hub: Hub, claim: Path, repository: Repository
) -> None:
    partial = claim / "fetching" / NAME / repository.commit / "model-00001-of-00002.safetensors"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"x" * 1_000_000)

    assert Fetching(hub, claim).run()[0] == 0
    assert_whole(claim, repository)


@pytest.mark.parametrize("status", [429, 503])
def test_the_hub_may_ask_to_wait(status: int, hub: Hub, claim: Path, repository: Repository) -> None:
    hub.faults.statuses = [(status, {"Retry-After": "0"})] * 3
    hub.faults.list_statuses = [(status, {"Retry-After": "0"})]

    assert Fetching(hub, claim).run()[0] == 0
    assert_whole(claim, repository)


@pytest.mark.parametrize(("status", "reason"), [(429, "RateLimited"), (503, "HubUnavailable")])
def test_a_hub_that_goes_on_refusing_is_left_to_a_later_attempt(
    status: int, reason: str, hub: Hub, claim: Path
) -> None:
    hub.faults.list_statuses = [(status, {"Retry-After": "0"})] * 6

    assert Fetching(hub, claim).fails(status=1)[0] == reason


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("mtp_operator.fetch.hub.FIRST_WAIT_SECONDS", 0.0)

    with pytest.raises(FetchError, match="ConnectError") as failure:
        RealHub(None, threading.Event()).list_files(NAME, None)

    assert (failure.value.reason, failure.value.is_permanent) == ("HubUnavailable", False)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"][: 1 + socket.has_dualstack_ipv6()])
def test_progress_is_told_at_either_kind_of_address(host: str) -> None:
    server = serve(Meter(), 0)
    try:
        assert httpx.get(f"http://{host}:{server.server_port}/progress").status_code == 200
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("closed", ["is_gated", "is_private"])
def test_a_token_opens_what_is_closed(closed: str, repository: Repository, claim: Path) -> None:
    with Hub(Repository(NAME, repository.folder, **{closed: True}), token=TOKEN) as hub:
        assert Fetching(hub, claim, more=secret(claim, TOKEN)).run()[0] == 0

        with_token = {path for path, headers in hub.requests if "Authorization" in headers}
        assert not any(path.startswith("/lfs/") for path in with_token)


def test_a_gated_repository_says_what_to_do(repository: Repository, claim: Path) -> None:
    with Hub(Repository(NAME, repository.folder, is_gated=True), token=TOKEN) as hub:
        reason, message = Fetching(hub, claim).fails()

    assert reason == "GatedRepository"
    assert "accept its terms" in message
    assert "spec.model.tokenSecretRef" in message


def test_a_wrong_token(hub: Hub, claim: Path) -> None:
    reason, message = Fetching(hub, claim, more=secret(claim, "hf_other")).fails()

    assert (reason, "hf_other" in message) == ("TokenRefused", False)


@pytest.fixture
def authority(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate that no public authority knows, and a server with it."""
    certificate, key = tmp_path / "ca.crt", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=hub", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    return certificate, tls


def test_a_hub_of_a_private_authority(
    authority: tuple[Path, ssl.SSLContext], claim: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, tls = authority
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    repository = Repository(NAME, folder)
    with Hub(repository, tls=tls) as hub:
        status, _ = Fetching(hub, claim, more={"ca_file": str(certificate)}).run()

        assert status == 0
        assert_whole(claim, repository, {"model.safetensors"})
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        monkeypatch.setattr("mtp_operator.fetch.hub.FIRST_WAIT_SECONDS", 0.0)
        with pytest.raises(FetchError, match=r"storage\.caBundle.*certificate verify failed") as failure:
            RealHub(None, threading.Event()).list_files(NAME, None)
    assert (failure.value.reason, failure.value.is_permanent) == ("HubUntrusted", True)


def test_a_bundle_without_certificates(claim: Path, hub: Hub, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.crt"
    bundle.write_text("no certificate")

    reason, message = Fetching(hub, claim, more={"ca_file": str(bundle)}).fails()

    assert reason == "CABundleUnreadable"
    assert "storage.caBundle" in message


def test_a_projector_comes_with_its_model(claim: Path, tmp_path: Path) -> None:
    folder = tmp_path / "gguf"
    folder.mkdir()
    for name in ("q4.gguf", "q8.gguf", "mmproj-F16.gguf"):
        (folder / name).write_bytes(name.encode() * 1000)
    repository = Repository(NAME, folder)
    source = {"uri": f"hf://{NAME}/*q8*.gguf", "projector": "mmproj-F16.gguf"}

    with Hub(repository) as hub:
        status, result = Fetching(hub, claim, more={"sources": [source]}).run()
        missing = Fetching(hub, claim, more={"sources": [{**source, "projector": "mmproj-F32.gguf"}]}).fails()

    assert (status, result.fetched[0].uri) == (0, f"hf://{NAME}/q8.gguf")
    assert_whole(claim, repository, {"q8.gguf", "mmproj-F16.gguf"})
    assert missing[0] == "FileNotFound"
    assert "mmproj-F32.gguf" in missing[1]


def test_a_repository_that_is_not_there(hub: Hub, claim: Path) -> None:
    reason, message = Fetching(hub, claim, uri="hf://llm/huge").fails()

    assert reason == "RepositoryNotFound"
    assert "hf://llm/huge" in message


def test_a_commit_that_is_not_there(hub: Hub, claim: Path) -> None:
    reason, message = Fetching(hub, claim, revision="0" * 40).fails()

    assert reason == "RevisionNotFound"
    assert "0" * 40 in message


def test_a_repository_without_weights_for_the_engine(claim: Path, repository: Repository) -> None:
    for path in repository.folder.glob("*.safetensors"):
        path.unlink()
    with Hub(repository) as emptied:
        assert Fetching(emptied, claim).fails()[0] == "NoWeights"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A volume with room for 4 MB."""
    if os.getuid() != 0:
        pytest.skip("only root can mount a small volume")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=777", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_too_little_room_is_seen_before_anything_is_fetched(hub: Hub, small_disk: Path) -> None:
    reason, message = Fetching(hub, small_disk).fails()

    assert reason == "ClaimFull"
    assert "0.0 GB" in message
    assert hub.bytes_sent == 0


def test_a_disk_that_runs_full_on_the_way(hub: Hub, small_disk: Path) -> None:
    def fill(sent: int) -> None:
        if sent > 1_000_000 and not (small_disk / "other").exists():
            with (small_disk / "other").open("wb") as other:
                other.truncate(0)
                try:
                    while True:
                        other.write(b"x" * 4096)
                        other.flush()
                except OSError:
                    pass

    for path in sorted(hub.repositories[NAME].folder.glob("*-00002-*")):
        path.unlink()
    with Hub(hub.repositories[NAME]) as smaller:
        smaller.watch = fill
        assert Fetching(smaller, small_disk).fails()[0] == "ClaimFull"

        (small_disk / "other").unlink()
        smaller.watch = lambda _: None
        assert Fetching(smaller, small_disk).run()[0] == 0
        assert_whole(small_disk, hub.repositories[NAME])


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_claim_that_may_not_be_written(hub: Hub, claim: Path) -> None:
    claim.chmod(0o755)
    for parent in claim.parents[:-2]:
        parent.chmod(parent.stat().st_mode | 0o055)
    claim.parent.chmod(0o777)
    fetching = Fetching(hub, claim, prefix=("setpriv", "--reuid=65532", "--regid=65532", "--clear-groups"))

    reason, message = fetching.fails()

    assert reason == "ClaimNotWritable"
    assert "user 65532" in message


def test_progress_is_told_while_files_come(hub: Hub, claim: Path) -> None:
    seen: list[FetchProgress] = []
    address, once = "", threading.Lock()

    def ask(sent: int) -> None:
        if sent > 2_000_000 and once.acquire(blocking=False):
            seen.append(FetchProgress.model_validate_json(httpx.get(f"{address}/progress").content))

    hub.watch = ask
    hub.faults.list_statuses = [(503, {"Retry-After": "1"})]
    process = Fetching(hub, claim).start()
    assert process.stdout is not None
    address = f"http://127.0.0.1:{process.stdout.readline().split()[-1]}"
    process.communicate()

    (progress,) = seen
    assert progress.stage == "Fetching"
    assert progress.total_bytes == 6_000_003
    assert 0 < progress.fetched_bytes <= 6_000_003
