"""What pods run starts without what only the operator needs: a GPU waits for it."""

import subprocess
import sys

import pytest

HEAVY = ("numpy", "kopf", "kubernetes", "mtp_operator.reconcile.records")


@pytest.mark.parametrize(
    "program", ["bench.trial_program", "bench.probe", "fetch.fetch_program", "fetch.compile_cache"]
)
def test_a_pods_program_imports_nothing_heavy(program: str) -> None:
    ask = f"import sys, mtp_operator.cli.main, mtp_operator.{program}; print(*(set({HEAVY}) & set(sys.modules)))"

    imported = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout

    assert imported.split() == []
