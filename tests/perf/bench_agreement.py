r"""`mtp bench` and `vllm bench serve` in turn against the same server: do they say the same?

    python -m tests.perf.bench_agreement --vllm DIR/bin/vllm --llama-server DIR/llama-server \
        [--pairs 6] [--concurrency 1 4 16]

The servers are a GPU that is not there, as fast as a recorded curve says, and the real engines whose programs are
given. Both send the same list in the same order, with the same concurrency, at temperature 0. Printed is the 90 %
interval of the median ratio of pairs (ours / theirs); where it is wider than what it is held against, how many pairs it
would take. Asserts nothing.
"""

import argparse
import json
import math
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from tests.e2e.harness import REPOSITORY, model_folder

CONCURRENCIES: Final = (1, 4, 16)
N_SPEC: Final = 2
REQUESTS: Final = 24
OUTPUT_TOKENS: Final = 48
ALLOWED: Final = {"output throughput": 0.03, "time per output token": 0.03, "time to first token": 0.10}
READY_SECONDS: Final = 300
MODEL: Final = "tiny"
ENGINES: Final = ("simulated", "vLLM", "llama.cpp")
SIMULATED_CURVE: Final = "seed-gemma4-31b-fp8-vllm"
SIMULATED_N_SPEC: Final = 5
ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
"""Of a server on a CPU: the clients have a core of their own on the smallest machine."""


@dataclass(frozen=True)
class Figures:
    """What one program says of one run."""

    of: Mapping[str, float]
    output_tokens: int
    generated_tokens: int | None = None
    """As the server has counted them."""


def vllm_serve(program: Path, port: int) -> list[str]:
    """vLLM's server on a CPU."""
    speculation = json.dumps({"method": "mtp", "num_speculative_tokens": N_SPEC})
    return [
        str(program), "serve", str(model_folder()), "--served-model-name", MODEL, "--host", "127.0.0.1",
        "--port", str(port), "--enforce-eager", "--max-model-len", "2048", "--max-num-seqs", "16",
        "--kv-cache-memory-bytes", str(1 << 28), "--no-enable-prefix-caching", "--generation-config", "vllm",
        "--speculative-config", speculation,
    ]  # fmt: skip


def llama_serve(program: Path, port: int) -> list[str]:
    """llama.cpp's server on a CPU."""
    return [
        str(program), "--model", str(model_folder() / "model.gguf"), "--alias", MODEL, "--host", "127.0.0.1",
        "--port", str(port), "--ctx-size", str(16 * 2048), "--parallel", "16", "--flash-attn", "off", "--fit", "off",
        "--cache-ram", "0", "--threads", "1", "--metrics", "--offline",
        "--spec-type", "draft-mtp", "--spec-draft-n-max", str(N_SPEC),
    ]  # fmt: skip


def simulated_serve(port: int) -> list[str]:
    """Gemma 4 31B on an RTX PRO 6000, as it was recorded."""
    speculation = json.dumps({"method": "mtp", "num_speculative_tokens": SIMULATED_N_SPEC})
    return [
        sys.executable, "-m", "simulated_gpu", "serve", str(model_folder()), "--served-model-name", MODEL,
        "--host", "127.0.0.1", "--port", str(port), "--curves", str(REPOSITORY / "docs" / "data"),
        "--curve", SIMULATED_CURVE, "--speculative-config", speculation,
    ]  # fmt: skip


@contextmanager
def running(command: Sequence[str], port: int) -> Iterator[str]:
    """A server that is up; ended afterwards."""
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(REPOSITORY / "images" / "simulated-gpu")}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            end = time.monotonic() + READY_SECONDS
            while not is_healthy(url):
                if process.poll() is not None or time.monotonic() > end:
                    sys.exit(f"{command[0]} does not come up: run it by hand with the same arguments: {command[1:]}")
                time.sleep(1)
            yield url
        finally:
            process.terminate()


def is_healthy(url: str) -> bool:
    """Whether the server answers."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as response:  # noqa: S310  # loopback
            return bool(response.status == 200)
    except OSError:
        return False


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ours(url: str, requests: Path, concurrency: int) -> Figures:
    """`mtp bench`."""
    command = ["mtp", "bench", "--url", url, "--requests", str(requests), "--drain", "include",
               "--concurrency", str(concurrency), "--output", "json"]  # fmt: skip
    command[0] = str(Path(sys.executable).with_name("mtp"))
    (told,) = json.loads(_output(command))
    figures = {
        "output throughput": told["outputTokensPerSecond"],
        "time per output token": told["latencies"]["timePerOutputToken"][0],
        "time to first token": told["latencies"]["timeToFirstToken"][0],
    }
    return Figures(figures, told["outputTokens"], told["generatedTokens"])


def theirs(program: Path, url: str, requests: Path, concurrency: int) -> Figures:
    """`vllm bench serve`."""
    with tempfile.TemporaryDirectory() as folder:
        _output([
            str(program), "bench", "serve", "--backend", "openai-chat", "--endpoint", "/v1/chat/completions",
            "--base-url", url, "--model", MODEL, "--tokenizer", str(model_folder()), "--temperature", "0",
            "--dataset-name", "custom", "--dataset-path", str(requests), "--disable-shuffle", "--skip-chat-template",
            "--custom-output-len", "-1", "--num-prompts", str(REQUESTS), "--max-concurrency", str(concurrency),
            # As `mtp bench` asks: llama-server would answer a prompt that it has seen before out of its cache.
            "--extra-body", json.dumps({"cache_prompt": False}),
            "--save-result", "--result-dir", folder, "--result-filename", "result.json", "--disable-tqdm",
        ])  # fmt: skip
        told: dict[str, Any] = json.loads(Path(folder, "result.json").read_text(encoding="utf-8"))
    figures = {
        "output throughput": told["output_throughput"],
        "time per output token": told["mean_tpot_ms"],
        "time to first token": told["mean_ttft_ms"],
    }
    return Figures(figures, told["total_output_tokens"])


def median_interval(ratios: Sequence[float]) -> tuple[float, float] | None:
    """The 90 % interval of the median by order statistics (sign test); None where there are too few."""
    ordered, count = sorted(ratios), len(ratios)
    cut = 0
    while sum(math.comb(count, below) for below in range(cut + 1)) / 2**count <= 0.05:
        cut += 1
    return None if cut == 0 else (ordered[cut - 1], ordered[count - cut])


def judged(ratios: Sequence[float], allowed: float) -> str:
    """One line: the interval, and whether it lies within what is allowed."""
    interval = median_interval(ratios)
    spread = max(abs(math.log(ratio)) for ratio in ratios)
    needed = max(5, math.ceil(len(ratios) * (spread / allowed) ** 2))
    if interval is None:
        return f"median {median(ratios):.3f}; not resolved: at least 5 pairs are needed, here about {needed}"
    low, high = interval
    text = f"median {median(ratios):.3f}, 90 % interval {low:.3f} to {high:.3f}"
    if low >= 1 - allowed and high <= 1 + allowed:
        return f"{text}: within ±{allowed:.0%}"
    if high < 1 - allowed or low > 1 + allowed:
        return f"{text}: NOT within ±{allowed:.0%}"
    return f"{text}: not resolved against ±{allowed:.0%}, about {needed} pairs are needed"


def compare(name: str, url: str, vllm: Path, requests: Path, concurrencies: Sequence[int], pairs: int) -> None:
    """Print what all pairs say."""
    for concurrency in concurrencies:
        run = {"ours": lambda c=concurrency: ours(url, requests, c),
               "theirs": lambda c=concurrency: theirs(vllm, url, requests, c)}  # fmt: skip
        seen: list[dict[str, Figures]] = []
        for pair in range(pairs):
            # The order alternates, so that drift favours neither.
            order = ("ours", "theirs") if pair % 2 == 0 else ("theirs", "ours")
            seen.append({program: run[program]() for program in order})
        print(f"{name}, concurrency {concurrency}, {pairs} pairs of {REQUESTS} requests")
        for metric, allowed in ALLOWED.items():
            ratios = [one["ours"].of[metric] / one["theirs"].of[metric] for one in seen]
            print(f"  {metric}: {judged(ratios, allowed)}", flush=True)
        ours_tokens = [(one["ours"].output_tokens, one["ours"].generated_tokens) for one in seen]
        equal = sum(tokens == generated for tokens, generated in ours_tokens)
        print(f"  tokens equal to the server's own counter in {equal} of {pairs} runs", end="")
        print(f"; vllm bench serve counted {sorted({one['theirs'].output_tokens for one in seen})}", flush=True)


def _output(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}:\n{(done.stderr or done.stdout)[-2000:]}")
    return done.stdout


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vllm", type=Path, help="the command vllm")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES, help="that are asked (default: all)")
    parser.add_argument("--llama-server", type=Path, help="the command llama-server")
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--concurrency", type=int, nargs="+", default=CONCURRENCIES)
    options = parser.parse_args()
    if options.vllm is None:
        print("agreement with vllm bench serve: left out, for --vllm is not given (make bench BENCH_VLLM=…/bin/vllm)")
        return
    with tempfile.TemporaryDirectory() as folder:
        requests = Path(folder, "requests.jsonl")
        lines = [{"prompt": f"Question {number}: why?", "output_tokens": OUTPUT_TOKENS} for number in range(REQUESTS)]
        requests.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        commands = {"simulated": simulated_serve(free_port()), "vLLM": vllm_serve(options.vllm, free_port())}
        if options.llama_server is not None:
            commands["llama.cpp"] = llama_serve(options.llama_server, free_port())
        for name, command in commands.items():
            if name not in options.engines:
                continue
            port = int(command[command.index("--port") + 1])
            with running(command, port) as url:
                compare(name, url, options.vllm, requests, options.concurrency, options.pairs)


if __name__ == "__main__":
    main()
