"""`mtp validate` and the API server give one verdict on 2,000 specs, which the operator is held to as well."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from mtp_operator.api.validation import complaints
from tests.cluster.api_server import InvalidError, connect, dry_create
from tests.generated_specs import specs

BATCH = 250
AT_ONCE = 8
SPECS = list(specs())
BATCHES = [SPECS[first : first + BATCH] for first in range(0, len(SPECS), BATCH)]

pytestmark = pytest.mark.usefixtures("operator")


@pytest.fixture(scope="module")
def api_server(kubeconfig: Path) -> Iterator[httpx.Client]:
    assert kubeconfig.exists()
    with connect() as client:
        yield client


def said(api_server: httpx.Client, document: dict[str, Any]) -> str:
    """What the API server has against a model; empty if it takes it."""
    try:
        dry_create(api_server, "mtpmodels", document)
    except InvalidError as error:
        return str(error) or "Invalid"
    except httpx.HTTPStatusError as error:
        # A field that it does not know, or a number beyond int64, cannot be decoded at all.
        if error.response.status_code == httpx.codes.BAD_REQUEST:
            return str(error.response.json()["message"])
        raise
    return ""


@pytest.mark.parametrize("batch", BATCHES, ids=lambda batch: batch[0]["metadata"]["name"])
def test_one_verdict_without_a_cluster_and_with_one(batch: list[dict[str, Any]], api_server: httpx.Client) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda one: said(api_server, one), batch))

    differences = {
        one["metadata"]["name"]: (answer, list(map(str, offline)))
        for one, answer in zip(batch, answers, strict=True)
        if bool(offline := complaints(one)) != bool(answer)
    }
    assert differences == {}
