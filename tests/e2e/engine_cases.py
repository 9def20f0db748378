"""Every argv that the operator can make: of what people run, and with each setting and method at its limits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from mtp_operator.api.engines import llamacpp_settings, vllm_settings
from mtp_operator.api.files import FILES_FOLDER
from mtp_operator.api.model import MTPModelSpec
from mtp_operator.api.run import RunSettings
from mtp_operator.api.spec import EngineType, SpeculationMethod
from mtp_operator.convert.document import converted
from mtp_operator.convert.found import ConvertError
from mtp_operator.convert.sources import deployed_in
from mtp_operator.engines import engine_for

from . import harness

UNIT = Path(__file__).parents[1] / "unit"

#: Each setting of each engine with the values that change the argv.
VALUES: dict[EngineType, dict[str, list[Any]]] = {
    EngineType.VLLM: {
        "maxModelLen": [-1, 1024, 1_048_576],
        "maxNumSeqs": [1, 1024],
        "gpuMemoryUtilizationPercent": [1, 100],
        "tensorParallelSize": [2],
        "dataParallelSize": [2],
        "prefixCaching": ["Enabled", "Disabled"],
        "trustRemoteCode": ["Enabled", "Disabled"],
    },
    EngineType.LLAMA_CPP: {
        "contextSize": [1024, 1_048_576],
        "parallel": [1, 256],
        "gpuLayers": [-1, 0, 1024],
        "flashAttention": ["Enabled", "Disabled"],
    },
}
MEMBERS = {EngineType.VLLM: "vllm", EngineType.LLAMA_CPP: "llamaCpp"}
METHODS = {EngineType.VLLM: vllm_settings.METHODS, EngineType.LLAMA_CPP: llamacpp_settings.METHODS}
DRAFTED_BY_ITSELF = (SpeculationMethod.MTP, SpeculationMethod.N_GRAM, SpeculationMethod.SUFFIX)
DRAFTED_BY_ANOTHER = tuple(
    one for one in SpeculationMethod if one not in (SpeculationMethod.N_GRAM, SpeculationMethod.SUFFIX)
)


@dataclass(frozen=True)
class Case:
    """One argv.

    Attributes:
        name: what is special about it.
        argv: the arguments after the image's entry point.
        loads: whether our model is enough to work out the engine's whole configuration.
        is_ours: whether nobody else has written a part of it: flags that an engine calls deprecated are theirs to use.
    """

    name: str
    argv: tuple[str, ...]
    loads: bool = False
    is_ours: bool = True


def cases(engine_type: EngineType, model: str, drafter: str) -> list[Case]:
    """All cases of an engine.

    Args:
        engine_type: which engine.
        model: path of our model, as the engine sees it.
        drafter: path of another one.
    """
    return [
        *_of_samples(engine_type, model, drafter),
        *(replace(case, is_ours=False) for case in _of_deployments(engine_type, model, drafter)),
        *_of_settings(engine_type, model),
        *_of_methods(engine_type, model, drafter),
    ]


def _of_samples(engine_type: EngineType, model: str, drafter: str) -> Iterator[Case]:
    for path in sorted(harness.SAMPLES.rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document["kind"] == "MTPModel":
                spec = MTPModelSpec.model_validate(document["spec"])
                for n_spec in (0, 1, spec.tuning.max_n_spec):
                    yield from _of_spec(f"{path.stem} n={n_spec}", spec, n_spec, engine_type, model, drafter)


def _of_deployments(engine_type: EngineType, model: str, drafter: str) -> Iterator[Case]:
    """Of deployments as people have them, and of command lines as `mtp init` understands them."""
    for path in sorted((UNIT / "api" / "real_deployments").glob("*.yaml")):
        spec = MTPModelSpec.model_validate(yaml.safe_load(path.read_text())["spec"])
        yield from _of_spec(path.stem, spec, spec.tuning.max_n_spec, engine_type, model, drafter)
    for number, line in enumerate((UNIT / "convert" / "real_command_lines.txt").read_text().splitlines(), 1):
        try:
            document, _ = converted(deployed_in(line, None))
        except ConvertError:
            continue
        spec = MTPModelSpec.model_validate(document["spec"])
        yield from _of_spec(f"command line {number}", spec, spec.tuning.max_n_spec, engine_type, model, drafter)


def _of_spec(
    name: str, spec: MTPModelSpec, n_spec: int, engine_type: EngineType, model: str, drafter: str
) -> Iterator[Case]:
    if spec.engine.type is engine_type:
        other = drafter if spec.speculation.drafter else None
        argv = engine_for(engine_type).arguments(settings_of(**spec.to_wire()), n_spec, "model", model, other)
        # Files of the pod or of the engine's image are not here; where an engine looks at one at once, another will do.
        there = (re.sub(f"^(--[^=]*=)?{FILES_FOLDER}/.*", rf"\1{model}", one) for one in argv)
        yield Case(name, tuple(re.sub("^(--chat-template)=.*", r"\1={{ messages }}", one) for one in there))


def _of_settings(engine_type: EngineType, model: str) -> Iterator[Case]:
    for setting, values in VALUES[engine_type].items():
        for value in values:
            engine = {"type": engine_type.value, MEMBERS[engine_type]: {setting: value}}
            argv = engine_for(engine_type).arguments(settings_of(engine=engine), 8, "model", model, None)
            yield Case(f"{setting}={value}", argv)


def _of_methods(engine_type: EngineType, model: str, drafter: str) -> Iterator[Case]:
    engine = {"type": engine_type.value}
    for methods, other in ((DRAFTED_BY_ITSELF, None), (DRAFTED_BY_ANOTHER, drafter)):
        for method in (one for one in methods if one in METHODS[engine_type]):
            speculation = {"method": method.value, **({"drafter": {"uri": "pvc://x"}} if other else {})}
            for n_spec in (0, 1, 8):
                settings = settings_of(engine=engine, speculation=speculation)
                argv = engine_for(engine_type).arguments(settings, n_spec, "model", model, other)
                # Suffix needs a package that the engine's image does not bring.
                loads = n_spec == 0 or (other is None and method is not SpeculationMethod.SUFFIX)
                yield Case(f"{method} {'with' if other else 'without'} a drafter n={n_spec}", argv, loads)


def settings_of(**spec: Any) -> RunSettings:
    """Settings of a run from a model's spec; what is left out has its default."""
    whole = MTPModelSpec.model_validate({"model": {"uri": "pvc://weights/model"}, **spec})
    return RunSettings.model_validate(
        {
            "model": whole.model,
            "engine": whole.engine,
            "benchImage": "",
            "accelerator": whole.accelerator,
            "speculation": whole.speculation.model_dump(exclude={"n_spec"}),
            "maxNSpec": whole.tuning.max_n_spec,
            "workload": whole.tuning.workload,
            "budget": whole.tuning.budget,
        }
    )
