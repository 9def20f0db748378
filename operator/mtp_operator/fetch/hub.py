"""The hub: what a repository has, and the bytes of its files.

Listing, names, credentials and errors are huggingface_hub's. Its downloads are not used: they begin anew after the end
of their process, which a fetch of hours on nodes that come and go cannot afford.
"""

import ipaddress
import ssl
import threading
from collections.abc import Callable
from typing import BinaryIO, Final, TypeVar

import httpx2
from huggingface_hub import HfApi, constants, get_session, hf_hub_url, hf_raise_for_status, set_client_factory
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from .fetch_errors import FetchError, StoppedError
from .listing import Listing, RemoteFile, checked

CHUNK_BYTES: Final = 1 << 18
"""Written at once: what the end of the process loses of a file at the most."""

FRUITLESS_ATTEMPTS: Final = 6
"""Attempts in a row that bring nothing, after which the pod gives up and leaves it to its Job to try later."""

FIRST_WAIT_SECONDS: Final = 1.0
LONGEST_WAIT_SECONDS: Final = 3600.0
"""The most that a hub's Retry-After is obeyed."""

_TIMEOUT: Final = httpx2.Timeout(30.0)
_RETRIED: Final = frozenset({408, 429, 500, 502, 503, 504})

_REDIRECTS: Final = 5

Result = TypeVar("Result")


class CutError(httpx2.TransportError):
    """A file ended before its end."""


class Hub:
    """Requests to the hub that HF_ENDPOINT names.

    Args:
        token: the hub's token, if there is one.
        stop: ends every wait and every download.
        ca_file: certificates of authorities that are trusted beside the public ones.

    Raises:
        FetchError: that file has no certificates.
    """

    def __init__(self, token: str | None, stop: threading.Event, ca_file: str | None = None) -> None:
        trusted = _trusted(ca_file)
        set_client_factory(lambda: _client(trusted))
        # False, not None: a token of the environment is nobody's here.
        self._api = HfApi(token=token or False)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._has_token = token is not None
        self._stop = stop

    def list_files(self, repository: str, revision: str | None) -> Listing:
        """What the repository has at the revision (default: the newest).

        Raises:
            FetchError: the hub does not say.
            StoppedError: it is not wanted any more.
        """

        def ask() -> Listing:
            try:
                info = self._api.model_info(repository, revision=revision, files_metadata=True, timeout=_TIMEOUT.read)
            except HFValidationError as error:
                raise FetchError(
                    "RepositoryNotFound", f"hf://{repository} is not a repository name of the hub: {error}"
                ) from error
            except (TypeError, KeyError, ValueError) as error:
                raise FetchError(
                    "HubRefused", f"the answer for hf://{repository} is not from a Hugging Face hub"
                ) from error
            files = (
                RemoteFile(
                    path=file.rfilename,
                    size=0 if file.size is None else file.size,
                    sha256=file.lfs.sha256 if file.lfs else None,
                    git_sha1=None if file.lfs else file.blob_id,
                )
                for file in info.siblings or ()
            )
            return checked(info.sha, files, revision)

        return self._patiently(repository, revision, ask, lambda: 0)

    def download(self, repository: str, commit: str, file: RemoteFile, into: BinaryIO) -> None:
        """Appends what `into` lacks of the file.

        Raises:
            FetchError: the hub did not return it.
            StoppedError: it is not wanted any more.
            OSError: the volume does not take it.
        """

        def get() -> None:
            have = into.seek(0, 2)
            if have >= file.size:
                return
            # What is written is what is counted: no encoding on the way. At a position, so that two fetches whose
            # file system has no locks write the same bytes to the same place.
            headers = {**self._headers, "Range": f"bytes={have}-", "Accept-Encoding": "identity"}
            url = hf_hub_url(repository, file.path, revision=commit)
            with get_session().stream("GET", url, headers=headers, timeout=_TIMEOUT) as response:
                hf_raise_for_status(response)
                if response.status_code != httpx2.codes.PARTIAL_CONTENT:
                    into.seek(0)
                    into.truncate()
                for chunk in response.iter_raw(CHUNK_BYTES):
                    if self._stop.is_set():
                        raise StoppedError
                    # One byte too many shows that it is another file; a claim is not filled by who does not stop.
                    into.write(chunk[: file.size + 1 - into.tell()])
                    if into.tell() > file.size:
                        return
            if into.tell() < file.size:
                raise CutError(f"{file.path} ended after {into.tell()} of {file.size} bytes")

        self._patiently(repository, commit, get, lambda: into.seek(0, 2))

    def _patiently(
        self, repository: str, revision: str | None, request: Callable[[], Result], achieved: Callable[[], int]
    ) -> Result:
        """Repeats a request that the hub or the network fails for now; attempts that achieve something are free."""
        fruitless, best = 0, achieved()
        while not self._stop.is_set():
            try:
                return request()
            except httpx2.TooManyRedirects as error:
                raise FetchError("HubRefused", f"the hub redirects hf://{repository} in circles") from error
            except (HfHubHTTPError, httpx2.TransportError) as error:
                failure = self._explained(repository, revision, error)
                asked_for = _retry_after(error)
            now = achieved()
            fruitless, best = (0, now) if now > best else (fruitless + 1, best)
            if failure.is_permanent or fruitless >= FRUITLESS_ATTEMPTS:
                raise failure
            wait = FIRST_WAIT_SECONDS * (2 ** (fruitless - 1)) if fruitless else 0.0
            self._stop.wait(min(wait if asked_for is None else asked_for, LONGEST_WAIT_SECONDS))
        raise StoppedError

    def _explained(
        self, repository: str, revision: str | None, error: HfHubHTTPError | httpx2.TransportError
    ) -> FetchError:
        name, token = f"hf://{repository}", "spec.model.tokenSecretRef"
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
        if isinstance(error, GatedRepoError):
            who = f"the account of {token}" if self._has_token else f"an account, and name its token in {token}"
            return FetchError("GatedRepository", f"{name} is gated: accept its terms on the hub with {who}")
        if isinstance(error, RevisionNotFoundError):
            return FetchError("RevisionNotFound", f"{name} has no commit {revision}: correct the revision")
        if status == httpx2.codes.UNAUTHORIZED and self._has_token:
            return FetchError("TokenRefused", f"the hub does not accept the token of {token} for {name}")
        if isinstance(error, RepositoryNotFoundError) or status == httpx2.codes.NOT_FOUND:
            hint = f"the token of {token} may not see it" if self._has_token else f"it is private and needs {token}"
            return FetchError("RepositoryNotFound", f"the hub has no {name}, or {hint}")
        if status in (httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN):
            return FetchError("AccessDenied", f"the hub denies access to {name} (HTTP {status}): see {token}")
        if status == httpx2.codes.TOO_MANY_REQUESTS:
            return FetchError("RateLimited", f"the hub limits the rate of requests for {name}", is_permanent=False)
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            whose = "the certificate of the hub, or of the proxy before it, has an unknown issuer or is out of date"
            hint = "name a ConfigMap with its issuer in spec.storage.caBundle, or in the chart's hub.caBundle"
            return FetchError("HubUntrusted", f"{whose}: {hint} ({error})")
        if status is None or status in _RETRIED:
            # An error's text may quote what was sent, the token too, or what the hub wants to be read.
            words = f": {error}" if isinstance(error, CutError | httpx2.ConnectError) else ""
            said = f"HTTP {status}" if status else f"{type(error).__name__}{words}"
            return FetchError("HubUnavailable", f"the hub did not return {name} ({said})", is_permanent=False)
        return FetchError("HubRefused", f"the hub refuses {name} (HTTP {status})")


def _retry_after(error: HfHubHTTPError | httpx2.TransportError) -> float | None:
    """Seconds that the hub asks to wait, if it does; a date instead of seconds counts as none."""
    if not isinstance(error, HfHubHTTPError):
        return None
    value = error.response.headers.get("Retry-After", "").strip()
    return float(value) if value.isdigit() else None


def _trusted(ca_file: str | None) -> ssl.SSLContext:
    """The public authorities, and those of a file.

    Raises:
        FetchError: the file has no certificates.
    """
    context = httpx2.create_ssl_context()
    try:
        if ca_file is not None:
            context.load_verify_locations(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        message = "the ConfigMap of storage.caBundle, or of the chart's hub.caBundle, has no certificates in PEM form"
        raise FetchError("CABundleUnreadable", message) from error
    return context


def _client(trusted: ssl.SSLContext) -> httpx2.Client:
    """What all requests are made with."""
    return httpx2.Client(
        verify=trusted,
        event_hooks={"request": [_check_destination]},
        follow_redirects=True,
        max_redirects=_REDIRECTS,
        timeout=_TIMEOUT,
    )


def _check_destination(request: httpx2.Request) -> None:
    """Refuses to follow a hub to where a pod may get and the hub should not: each redirect is a request of its own.

    Raises:
        FetchError: it is not encrypted although the hub is, or names the node's own addresses.
    """
    endpoint, requested = httpx2.URL(constants.ENDPOINT), request.url
    if requested.host == endpoint.host and requested.scheme == endpoint.scheme:
        return
    if endpoint.scheme == "https" and requested.scheme != "https":
        raise FetchError("HubRefused", f"the hub redirects to {requested.host} without encryption")
    try:
        address = ipaddress.ip_address(requested.host)
    except ValueError:
        return
    if address.is_link_local or address.is_loopback or address.is_multicast or address.is_unspecified:
        raise FetchError("HubRefused", f"the hub redirects to {requested.host}, which is not on the network")
