"""No gate sounds a false alarm: engines without a fault, at every n, are measured and never suspected."""

from __future__ import annotations

import pytest

from mtp_operator.api.run import ArmState

from .boots import boot_all

BOOTS = {"demo-llamacpp": (0, 1, 2, 3, 4, 0, 1, 2, 3, 4), "demo-vllm": (0, 3)}
"""A dozen; `python -m tests.perf.false_alarms` makes sixty."""


@pytest.mark.parametrize("sample", BOOTS)
def test_no_healthy_boot_is_suspected(namespace: str, sample: str) -> None:
    arms = boot_all(sample, BOOTS[sample], namespace)

    assert [(arm.n_spec, arm.state, arm.reason) for arm in arms] == [
        (n_spec, ArmState.MEASURED, None) for n_spec in BOOTS[sample]
    ]
    for arm in arms:
        assert arm.output_check is not None
        assert arm.output_check.positions >= 256
        assert arm.output_check.json_schema != "Failed"
