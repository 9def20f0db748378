"""Sampling is sent as it is stated, and nothing is left to an engine's defaults unless that is asked for."""

import pytest

from mtp_operator.api.spec import EngineType, Sampling
from mtp_operator.bench.sampling import sampling_fields
from mtp_operator.engines import engine_for

NEUTRAL = engine_for(EngineType.VLLM).neutral_sampling_fields()


@pytest.mark.parametrize(
    ("stated", "sent"),
    [
        ({}, {}),
        ({"mode": "Greedy"}, {**NEUTRAL, "temperature": 0}),
        ({"mode": "ModelDefaults"}, {}),
        ({"mode": "Custom", "temperatureMilli": 0}, {**NEUTRAL, "temperature": 0, "top_p": 1, "top_k": 0}),
        (
            {"mode": "Custom", "temperatureMilli": 700, "topPMilli": 950, "topK": 20},
            {**NEUTRAL, "temperature": 0.7, "top_p": 0.95, "top_k": 20},
        ),
    ],
)
def test_fields_of_a_request(stated: dict[str, object], sent: dict[str, float]) -> None:
    assert sampling_fields(Sampling.model_validate(stated), seed=42, neutral=NEUTRAL) == {"seed": 42, **sent}
