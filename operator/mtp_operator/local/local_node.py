"""This machine as a node: its name, its GPU and the driver."""

import csv
import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from typing import Final

from mtp_operator.reconcile.observed import Node
from mtp_operator.reconcile.trial_conversion import DRIVER_LABEL
from mtp_operator.resources.placement import PRODUCT_LABEL

_TIMEOUT_SECONDS: Final = 30


def this_machine(environment: Mapping[str, str]) -> Node:
    """The machine, labeled as a node of a cluster would be; without a label where no NVIDIA driver tells.

    Args:
        environment: whose CUDA_VISIBLE_DEVICES names the GPUs.
    """
    return Node(name=socket.gethostname(), labels=_gpu_labels(environment.get("CUDA_VISIBLE_DEVICES")))


def _gpu_labels(visible: str | None) -> dict[str, str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    first = [f"--id={visible.split(',')[0]}"] if visible else []
    query = [program, "--query-gpu=name,driver_version", "--format=csv,noheader", *first]
    try:
        reported = subprocess.run(
            query, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=True, env=dict(os.environ)
        ).stdout
        product, driver = next(csv.reader(reported.splitlines(), skipinitialspace=True))
    except (OSError, subprocess.SubprocessError, StopIteration, ValueError):
        return {}
    return {PRODUCT_LABEL: product.strip().replace(" ", "-"), DRIVER_LABEL: driver.strip()}
