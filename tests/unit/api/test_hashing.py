"""Equal settings have equal hashes, in every version of the operator."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtp_operator.api.hashing import canonical_hash
from mtp_operator.api.run import RunSettings
from mtp_operator.api.settings import EngineSettings
from mtp_operator.api.spec import AcceleratorSpec, EngineSpec, Workload
from mtp_operator.resources.claim_template import claim_template_name
from mtp_operator.resources.weights_volumes import cache_key


def engine_settings(**changes: Any) -> EngineSettings:
    document = {
        "model": {"uri": "pvc://weights/qwen"},
        "engine": {"type": "VLLM", "image": "engine:1"},
        "accelerator": {},
        "speculation": {},
    }
    return EngineSettings.model_validate({**document, **changes})


@pytest.mark.parametrize(
    ("changes", "digest"),
    [
        ({}, "1dd39ec6111cb4fe"),
        ({"engine": {"type": "VLLM", "image": "engine:1", "vllm": {"maxNumSeqs": 64}}}, "b4f236363aeaf52c"),
        ({"engine": {"type": "LlamaCpp", "image": "engine:1", "llamaCpp": {"parallel": 4}}}, "6e0a3c2de1cea374"),
        ({"accelerator": {"count": 2, "products": ["A", "B"]}}, "004cb73e41273cb3"),
    ],
)
def test_a_hash_is_what_it_was_in_the_version_before(changes: dict[str, Any], digest: str) -> None:
    """A changed digest restarts servers and measures again: no test to adapt."""
    assert canonical_hash(engine_settings(**changes)).removeprefix("sha256:")[:16] == digest


class _LaterEngine(EngineSpec):
    added: str = "default"


class _LaterAccelerator(AcceleratorSpec):
    added: int = 3


class _LaterSettings(EngineSettings):
    engine: _LaterEngine
    accelerator: _LaterAccelerator
    added: tuple[str, ...] = ()


def test_a_field_with_a_default_that_a_later_version_adds_changes_no_hash() -> None:
    now = engine_settings(accelerator={"count": 2})

    assert canonical_hash(_LaterSettings.model_validate(now.to_wire())) == canonical_hash(now)


def test_it_changes_neither_a_compile_caches_folder_nor_a_claim_templates_name() -> None:
    now = engine_settings(accelerator={"count": 2})
    later = _LaterSettings.model_validate(now.to_wire())

    assert cache_key(later) == cache_key(now)
    assert claim_template_name("qwen", later.accelerator) == claim_template_name("qwen", now.accelerator)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"engine": {"type": "VLLM"}}, {"engine": {"type": "VLLM", "vllm": {}}}),
        ({"engine": {"type": "VLLM"}}, {"engine": {"type": "VLLM", "vllm": {"tensorParallelSize": 1}}}),
        ({"accelerator": {}}, {"accelerator": {"count": 1, "products": []}}),
        ({"accelerator": {"products": ["A", "B"]}}, {"accelerator": {"products": ["B", "A"]}}),
    ],
)
def test_what_says_the_same_has_the_same_hash(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert canonical_hash(engine_settings(**one)) == canonical_hash(engine_settings(**other))


@given(order=st.permutations([{"concurrency": 1}, {"concurrency": 4, "weight": 3}, {"concurrency": 2}]))
def test_the_order_of_a_list_map_does_not_count(order: list[dict[str, int]]) -> None:
    levels = [{"concurrency": 1}, {"concurrency": 2}, {"concurrency": 4, "weight": 3}]

    assert canonical_hash(Workload.model_validate({"levels": order})) == canonical_hash(
        Workload.model_validate({"levels": levels})
    )


def test_the_order_of_arguments_counts() -> None:
    flags = ["--a=1", "--b=2"]
    hashes = {
        canonical_hash(engine_settings(engine={"type": "VLLM", "extraArgs": order})) for order in (flags, flags[::-1])
    }

    assert len(hashes) == 2


MEASURED = {
    "model": {"uri": "pvc://weights/qwen", "servedName": "qwen"},
    "engine": {"type": "VLLM", "image": "engine:1"},
    "benchImage": "bench:1",
    "accelerator": {},
    "speculation": {},
    "maxNSpec": 8,
    "workload": {"outputTokens": 128, "levels": [{"concurrency": 1}, {"concurrency": 8}]},
    "budget": {},
}


def test_the_hash_of_a_measurement_is_what_it_was_in_the_version_before() -> None:
    """A changed digest throws away the evidence of every run that is kept: no test to adapt."""
    assert RunSettings.model_validate(MEASURED).measurement_hash().removeprefix("sha256:")[:16] == "9ec0cd0387ae7afa"


def test_what_is_compared_first_asks_for_nothing_else() -> None:
    one, other = (RunSettings.model_validate(document) for document in (MEASURED, {**MEASURED, "firstNSpec": 3}))

    assert one.request_hash() == other.request_hash()


@pytest.mark.parametrize(
    "same",
    [
        {"model": {"uri": "pvc://weights/qwen", "servedName": "other"}},
        {"maxNSpec": 3},
        {"budget": {"maxTrials": 3}},
        {"objective": {"slowerLevels": "Allow"}},
        {"weightsClaim": "claim"},
        {"benchImage": "bench:2"},
        {"workload": {"outputTokens": 128, "levels": [{"concurrency": 8, "weight": 7}, {"concurrency": 1}]}},
    ],
)
def test_what_is_asked_about_a_measurement_is_no_part_of_its_hash(same: dict[str, Any]) -> None:
    one, other = (RunSettings.model_validate(document) for document in (MEASURED, {**MEASURED, **same}))

    assert one.measurement_hash() == other.measurement_hash()


@pytest.mark.parametrize(
    "another",
    [
        {"model": {"uri": "pvc://weights/other"}},
        {"engine": {"type": "VLLM", "image": "engine:2"}},
        {"accelerator": {"count": 2}},
        {"speculation": {"method": "NGram"}},
        {"workload": {"outputTokens": 64, "levels": [{"concurrency": 1}, {"concurrency": 8}]}},
        {"workload": {"outputTokens": 128, "levels": [{"concurrency": 1}]}},
    ],
)
def test_another_engine_or_load_is_another_measurement(another: dict[str, Any]) -> None:
    one, other = (RunSettings.model_validate(document) for document in (MEASURED, {**MEASURED, **another}))

    assert one.measurement_hash() != other.measurement_hash()
