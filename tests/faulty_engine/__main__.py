"""`python -m tests.faulty_engine ARGUMENTS…`: run the real engine that is on PATH with a planted fault."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from importlib.util import find_spec
from types import FrameType

from .command import parse
from .faults import FAULTS, Engine, Fault
from .proxy import Proxy, ask


def main(program: list[str], arguments: list[str]) -> int:
    """Run until the engine ends; the exit status is the engine's."""
    command = parse(arguments)
    if command.fault not in (None, *FAULTS):
        sys.exit(f"there is no fault {command.fault}; there are {', '.join(FAULTS)}")
    fault = FAULTS[command.fault]() if command.fault else Fault()
    engine_port = command.port + 1
    fault.start(command.log_file)
    engine = subprocess.Popen([*program, *fault.arguments(command.on_port(engine_port))])

    def end(number: int, _: FrameType | None) -> None:
        engine.send_signal(number)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)

    def stop(status: int) -> None:
        engine.kill()
        os._exit(status)

    asked = Engine(ask=lambda path, body: ask(engine_port, path, body), stop=stop)
    proxy = Proxy(command.port, engine_port, fault, asked)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    status = engine.wait()
    return status if status >= 0 else 128 - status


def engine_program() -> list[str]:
    """How the engine of this image is started."""
    if shutil.which("llama-server"):
        return ["llama-server"]
    # Its image has what it is made of, and no program of its own.
    return ["python", "-m", "simulated_gpu"] if find_spec("simulated_gpu") else ["vllm", "serve"]


if __name__ == "__main__":
    sys.exit(main(engine_program(), sys.argv[1:]))
