"""The fetch program as kubelet runs it, and what it leaves on a claim."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtp_operator.api.fetch import PERMANENT_FAILURE, FetchPlan, FetchResult
from tests.hub import Hub, Repository

MTP = Path(sys.executable).with_name("mtp")
NAME = "llm/tiny"
TOKEN = "hf_secret"


@dataclass
class Fetching:
    """One pod's life."""

    hub: Hub
    claim: Path
    uri: str = f"hf://{NAME}"
    revision: str | None = None
    more: dict[str, Any] | None = None
    prefix: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def start(self) -> subprocess.Popen[str]:
        sources = [{"uri": self.uri, "revision": self.revision}]
        plan = FetchPlan.model_validate({"sources": sources, "folder": str(self.claim), **(self.more or {})})
        self.log.unlink(missing_ok=True)
        command = [*self.prefix, str(MTP), "fetch", "--plan", json.dumps(plan.to_wire())]
        return subprocess.Popen(
            [*command, "--termination-log", str(self.log), "--port", "0"],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.claim.parent),
                "HF_ENDPOINT": self.hub.url,
                "HF_HUB_DISABLE_TELEMETRY": "1",
                **self.environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @property
    def log(self) -> Path:
        return self.claim.parent / "termination-log"

    def run(self) -> tuple[int, FetchResult]:
        process = self.start()
        output, _ = process.communicate(timeout=120)
        assert self.log.exists(), output
        return process.returncode, FetchResult.model_validate_json(self.log.read_text())

    def fails(self, status: int = PERMANENT_FAILURE) -> tuple[str, str]:
        returned, result = self.run()
        assert result.failure is not None
        assert returned == status, result
        return result.failure.reason, result.failure.message


def digests(folder: Path) -> dict[str, str]:
    """Path -> hash of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


WANTED = {"config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}


def assert_whole(claim: Path, repository: Repository, wanted: set[str] = WANTED) -> None:
    there = digests(claim / "models" / NAME / repository.commit)
    assert there == {path: digest for path, digest in digests(repository.folder).items() if path in wanted}


def secret(claim: Path, token: str) -> dict[str, Any]:
    file = claim.parent / "token"
    file.write_text(f"{token}\n")
    return {"token_file": str(file)}
