"""What holds for every argv of every engine."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtp_operator.api.base import MAX_N_SPEC
from mtp_operator.api.run import RunSettings
from mtp_operator.api.spec import NEED_DRAFTER, EngineType, SpeculationMethod
from mtp_operator.engines import engine_for
from tests.unit.engines.settings import run_settings
from tests.unit.engines.sglang_parser import problem

SIZES: dict[EngineType, tuple[str, dict[str, st.SearchStrategy[Any]]]] = {
    EngineType.VLLM: (
        "vllm",
        {
            "maxModelLen": st.integers(1024, 1_048_576),
            "maxNumSeqs": st.integers(1, 1024),
            "gpuMemoryUtilizationPercent": st.none() | st.integers(1, 100),
            "tensorParallelSize": st.integers(1, 16),
            "prefixCaching": st.sampled_from(["Enabled", "Disabled"]),
            "trustRemoteCode": st.sampled_from(["Enabled", "Disabled"]),
        },
    ),
    EngineType.SGLANG: (
        "sglang",
        {
            "contextLength": st.integers(1024, 1_048_576),
            "maxRunningRequests": st.integers(1, 1024),
            "memFractionStaticPercent": st.integers(1, 99),
            "tensorParallelSize": st.integers(1, 16),
            "dataParallelSize": st.integers(1, 16),
            "prefixCaching": st.sampled_from(["Enabled", "Disabled"]),
            "trustRemoteCode": st.sampled_from(["Enabled", "Disabled"]),
        },
    ),
    EngineType.LLAMA_CPP: (
        "llamaCpp",
        {
            "contextSize": st.integers(1024, 1_048_576),
            "parallel": st.integers(1, 256),
            "gpuLayers": st.integers(-1, 1024),
            "flashAttention": st.sampled_from(["Enabled", "Disabled"]),
        },
    ),
}


@st.composite
def settings_of(draw: st.DrawFn, engine_type: EngineType) -> tuple[RunSettings, str | None]:
    """Settings of a run on this engine, and the drafter's path if there is one."""
    member, fields = SIZES[engine_type]
    method = SpeculationMethod(draw(st.sampled_from(sorted(engine_for(engine_type).methods))))
    needs = method in NEED_DRAFTER
    has_drafter = needs or (method is SpeculationMethod.MTP and draw(st.booleans()))
    speculation: dict[str, Any] = {"method": method.value}
    if has_drafter:
        speculation["drafter"] = {"uri": "pvc://weights/drafter"}
    engine = {"type": engine_type.value, "image": "engine:1", member: draw(st.fixed_dictionaries(fields))}
    settings = run_settings(engine=engine, speculation=speculation, maxNSpec=draw(st.integers(1, MAX_N_SPEC)))
    return settings, "/models/drafter" if has_drafter else None


def without(flags: tuple[str, ...], argv: tuple[str, ...]) -> tuple[str, ...]:
    """The argv without flags that begin so, and without their values."""
    kept: list[str] = []
    skipping = False
    for part in argv:
        if part.startswith("--"):
            skipping = part.startswith(flags)
        if not skipping:
            kept.append(part)
    return tuple(kept)


@pytest.mark.parametrize("engine_type", EngineType)
@given(data=st.data(), n_spec=st.integers(1, MAX_N_SPEC))
def test_arms_differ_in_nothing_but_speculation(engine_type: EngineType, data: st.DataObject, n_spec: int) -> None:
    settings, drafter = data.draw(settings_of(engine_type))
    engine = engine_for(engine_type)

    baseline = engine.arguments(settings, 0, "model", "/models/model", drafter)
    arm = engine.arguments(settings, n_spec, "model", "/models/model", drafter)

    # Graphs are captured up to the width that this n can have; without speculation no wider ones are of use.
    by_n = ("--spec", "--max-cudagraph-capture-size")
    assert without(by_n, arm) == without(by_n, baseline)
    assert not [part for part in baseline if part.startswith("--spec") or part == drafter]
    assert any(part.startswith("--spec") for part in arm)


@given(data=st.data(), n_spec=st.integers(0, MAX_N_SPEC))
def test_sglangs_parser_takes_every_argv(data: st.DataObject, n_spec: int) -> None:
    settings, drafter = data.draw(settings_of(EngineType.SGLANG))

    assert problem(engine_for(EngineType.SGLANG).arguments(settings, n_spec, "model", "/models/model", drafter)) == ""


@pytest.mark.parametrize("engine_type", EngineType)
@given(data=st.data(), n_spec=st.integers(0, MAX_N_SPEC))
def test_no_flag_is_stated_twice(engine_type: EngineType, data: st.DataObject, n_spec: int) -> None:
    settings, drafter = data.draw(settings_of(engine_type))

    argv = engine_for(engine_type).arguments(settings, n_spec, "model", "/models/model", drafter)

    names = [part.partition("=")[0] for part in argv if part.startswith("--")]
    assert len(names) == len(set(names))
    assert all(argv)
