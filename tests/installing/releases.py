"""What is installed."""

from __future__ import annotations

from tests.e2e import harness

SEPARATE_CRDS = "mtp-operator-crds"
CRDS = ("mtpmodels.mtp-operator.dev", "mtptuningruns.mtp-operator.dev")


def by_helm() -> None:
    harness.install_tested_operator()
