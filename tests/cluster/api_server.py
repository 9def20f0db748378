"""Requests to the API server without a kubectl process for each, for tests that ask it hundreds of times."""

from __future__ import annotations

import ssl
from typing import Any

import httpx

from tests.cluster import credentials


class InvalidError(Exception):
    """The API server does not take an object.

    Attributes:
        complaints: what it says against it, one item for each error, as kubectl prints it: field, colon, message.
    """

    def __init__(self, causes: list[dict[str, str]]) -> None:
        self.complaints = [f"{cause['field']}: {cause['message']}" for cause in causes]
        super().__init__("\n".join(self.complaints))


def connect() -> httpx.Client:
    """A client with the rights of the cluster's administrator, for whoever closes it."""
    folder = credentials.folder()
    context = ssl.create_default_context(cafile=folder / "authority.crt")
    context.load_cert_chain(folder / "administrator.crt", folder / "administrator.key")
    return httpx.Client(base_url=credentials.server(), verify=context, trust_env=False)


def dry_create(client: httpx.Client, plural: str, document: dict[str, Any]) -> dict[str, Any]:
    """The object as the API server would store it, as `kubectl create --dry-run=server` asks; `plural` is its resource.

    Raises:
        InvalidError: the object is not in order.
        httpx.HTTPStatusError: something else is wrong.
    """
    path = f"/apis/{document['apiVersion']}/namespaces/{document['metadata']['namespace']}/{plural}"
    response = client.post(path, params={"dryRun": "All", "fieldValidation": "Strict"}, json=document)
    answer: dict[str, Any] = response.json()
    if answer.get("reason") == "Invalid":
        raise InvalidError(answer["details"]["causes"])
    response.raise_for_status()
    return answer
