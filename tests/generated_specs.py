"""Specs of MTPModels that nobody would think of, the same at each call: about half of them are in order."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from typing import Any

from mtp_operator.api.crd import KINDS
from mtp_operator.api.model import MTPModel

SEED = 16
COUNT = 2000

URIS = ("pvc://weights/model", "pvc://weights/model.gguf", "hf://org/model", "hf://org/model/q8.gguf", "oci://a.io/b:1")
WORDS = (
    "a",
    "A-b_c",
    "model.gguf",
    "zone",
    "example.com/gpu",
    "NCCL_DEBUG",
    "1",
    "true",
    "12.0",
    "10Gi",
    "500m",
    "é",
    "",
)
ARGUMENTS = (
    "--seed=1",
    "--agent",
    "--load-format=auto",
    "--host=0.0.0.0",
    "--temp=-1",
    "-fa",
    "--data_parallel_size=1",
)
HUB = ("hf://org/model", "hf://org/model/q8.gguf")

(KIND,) = (one for one in KINDS if one.model is MTPModel)
SCHEMA: dict[str, Any] = KIND.definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


def specs(seed: int = SEED, count: int = COUNT) -> Iterator[dict[str, Any]]:
    """Documents of MTPModels that are in order but for a few fields."""
    draw = random.Random(seed)
    for number in range(count):
        yield {
            "apiVersion": "mtp-operator.dev/v1alpha1",
            "kind": "MTPModel",
            "metadata": {"name": f"generated-{number}", "namespace": "default"},
            "spec": _spec(draw),
        }


def _spec(draw: random.Random) -> dict[str, Any]:
    engine = draw.choice(["VLLM", "LlamaCpp", "SGLang"])
    llama_cpp = engine == "LlamaCpp"
    fetched = draw.random() < 0.3
    uri = HUB[llama_cpp] if fetched else URIS[llama_cpp]
    spec: dict[str, Any] = {"model": {"uri": uri}, "engine": {"type": engine}}
    if engine == "SGLang":
        spec["engine"]["image"] = "lmsysorg/sglang:v0.5.23"
    if fetched:
        spec["storage"] = {"existingClaim": "weights"}
    for _ in range(draw.randint(0, 3)):
        _change(draw, spec, SCHEMA)
    return spec


def _change(draw: random.Random, place: dict[str, Any], schema: dict[str, Any]) -> None:
    """One field somewhere below gets another value."""
    name = draw.choice(sorted(schema["properties"]))
    part = schema["properties"][name]
    if part.get("properties") and draw.random() < 0.8:
        below = place.setdefault(name, {})
        if isinstance(below, dict):
            _change(draw, below, part)
        return
    place[name] = _value(draw, part)


def _value(draw: random.Random, schema: dict[str, Any]) -> Any:
    if draw.random() < 0.04:
        return draw.choice([None, -1, "text", True, [], {}, 2**40, 1.5])
    match schema:
        case {"enum": names}:
            return draw.choice([*names, *names, "Other"])
        case {"type": "integer"}:
            least, most = schema.get("minimum", 0), schema.get("maximum", 1000)
            return draw.choice([least, most, draw.randint(least, most), min(most, least + 3), least - 1, most + 1])
        case {"type": "boolean"}:
            return draw.random() < 0.5
        case {"type": "array", "items": items}:
            return [_value(draw, items) for _ in range(draw.randint(0, 3))]
        case {"type": "object", "properties": properties}:
            required = set(schema.get("required", ()))
            chosen = {name for name in properties if name in required or draw.random() < 0.3}
            return {name: _value(draw, properties[name]) for name in sorted(chosen)}
        case {"type": "object"}:
            return {_text(draw): _value(draw, schema["additionalProperties"]) for _ in range(draw.randint(0, 2))}
        case _:
            return _text(draw)


def _text(draw: random.Random) -> str:
    kind = draw.random()
    if kind < 0.15:
        return draw.choice(URIS)
    if kind < 0.3:
        return draw.choice(ARGUMENTS)
    if kind < 0.9:
        return draw.choice(WORDS)
    return "".join(draw.choices(string.ascii_letters + "-./=:", k=draw.choice([1, 8, 64, 600])))
