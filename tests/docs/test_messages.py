"""The golden file of messages is complete, so that every change of a text is seen as a text."""

from __future__ import annotations

from tests.docs import messages


def test_the_golden_file_has_every_message() -> None:
    assert messages.golden() == messages.GOLDEN.read_text("utf-8"), "run `make generate`, and read the difference"


def test_the_collection_is_not_blind() -> None:
    found = messages.collected()

    assert any("trial" in text for text in found["mtp_operator/api/reasons/of_trials.py"])
    assert "must have exactly one of builtIn, configMap and pvc" in found["rules of the CRDs"]
    assert any("{{ .Chart.AppVersion }}" in text for text in found["charts/mtp-operator/templates/NOTES.txt"])
