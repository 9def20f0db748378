"""The API server that the commands ask."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from .golden import world_of
from .served import OURS, ApiServer


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """A server with the tuned model, and a kubeconfig that names it."""
    with ApiServer() as one:
        world = world_of("tuned")
        assert world.model is not None
        one.objects[f"{OURS}/mtpmodels/gemma"] = world.model
        one.objects[f"{OURS}/mtpmodels"] = {"items": [world.model]}
        one.objects[f"{OURS}/mtptuningruns"] = {"items": list(world.runs.values())}
        one.objects |= {f"{OURS}/mtptuningruns/{name}": run for name, run in world.runs.items()}
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{one.server_port}"}}],
            "users": [{"name": "jane", "user": {"token": "secret"}}],
            "contexts": [
                {"name": "here", "context": {"cluster": "here", "user": "jane", "namespace": "team"}},
                {"name": "elsewhere", "context": {"cluster": "here", "user": "jane", "namespace": "empty"}},
            ],
        }
        (tmp_path / "config").write_text(yaml.safe_dump(kubeconfig))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
        monkeypatch.setenv("NO_COLOR", "1")
        threading.Thread(target=one.serve_forever, args=(0.01,), daemon=True).start()
        yield one
        one.shutdown()
