"""What a compile cache is worth: real vLLM boots with an empty one, again, and with drafts. Only figures are printed.

    python -m tests.perf.compile_cache VLLM MODEL

VLLM is the `vllm` command, MODEL a folder that it loads (`python -m tests.mtp_model FOLDER --layers 6` makes one).
CPU time is that of all processes of a boot: other work on the machine disturbs it least.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from mtp_operator.engines.vllm import VLLM

PORT = 18_000
START_SECONDS = 900

BOOTS = (
    ("empty cache, n=0", ()),
    ("filled by it, n=0", ()),
    ("filled by n=0, n=2", ('--speculative-config={"method":"mtp","num_speculative_tokens":2}',)),
    ("filled by n=2, n=3", ('--speculative-config={"method":"mtp","num_speculative_tokens":3}',)),
)


def main(vllm: str, model: str) -> None:
    """Boots one after the other, with one cache and a new home for each."""
    print(f"{'boot':22} {'CPU s':>7} {'wall s':>7}")
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, arguments) in enumerate(BOOTS):
            home = Path(folder) / f"home-{number}"
            home.mkdir()
            cpu, wall = boot(vllm, model, Path(folder) / "cache", home, arguments)
            print(f"{name:22} {cpu:7.1f} {wall:7.1f}", flush=True)


def boot(vllm: str, model: str, cache: Path, home: Path, arguments: tuple[str, ...]) -> tuple[float, float]:
    """CPU seconds of one boot from its start to its end, and seconds until it was healthy."""
    environment = {
        "PATH": os.environ["PATH"],
        **VLLM().cache_environment(str(cache)),
        "HOME": str(home),
        "TMPDIR": str(home),
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
    }
    before, begin = _cpu_seconds(), time.monotonic()
    with (home / "log").open("wb") as log:
        command = [vllm, "serve", model, "--host=127.0.0.1", f"--port={PORT}", "--max-model-len=2048"]
        limits = ["--max-num-seqs=4", "--kv-cache-memory-bytes=268435456", "--no-enable-prefix-caching"]
        process = subprocess.Popen([*command, *limits, *arguments], env=environment, stdout=log, stderr=log)
        while not _is_healthy():
            if process.poll() is not None or time.monotonic() - begin > START_SECONDS:
                sys.exit((home / "log").read_text(errors="replace")[-3000:])
            time.sleep(0.5)
        wall = time.monotonic() - begin
        process.send_signal(signal.SIGINT)
        process.wait()
    return _cpu_seconds() - before, wall


def _is_healthy() -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{PORT}/health", trust_env=False).is_success
    except httpx.TransportError:
        return False


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main(*sys.argv[1:])
