"""What is taken without an API server, the operator takes too, over specs that nobody would think of."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtp_operator.api.crd import KINDS
from mtp_operator.api.model import MTPModel
from mtp_operator.api.validation import complaints
from mtp_operator.cli.render import Installation, model_of, rendered_objects

URIS = ("pvc://weights/model", "pvc://weights/model.gguf", "hf://org/model", "hf://org/model/q8.gguf", "oci://a.io/b:1")
NAMES = ("", "a", "A-b_c", "model.gguf", "é", "a b", "x" * 600, "zone", "example.com/gpu", "NCCL_DEBUG", "LD_PRELOAD")
AMOUNTS = ("10.0", "60Gi", "500m", "2")
TEXTS = st.sampled_from([*URIS, *NAMES, *AMOUNTS, "--seed=1", "--agent", "code.jsonl"])


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values of which most are of the right type and many within bounds."""
    match schema:
        case {"enum": names}:
            return st.sampled_from(names) | st.sampled_from(["Other", 1])
        case {"type": "integer", "minimum": least}:
            most = min(schema.get("maximum", 100), least + 20)
            return st.integers(least, most) | st.sampled_from(
                [least - 1, schema.get("maximum", 0) + 1, 8192, "1", None]
            )
        case {"type": "boolean"}:
            return st.booleans()
        case {"type": "array", "items": items}:
            return st.lists(values(items), max_size=2)
        case {"type": "object", "properties": properties}:
            fields = {name: values(part) for name, part in properties.items()}
            required = {name: fields[name] for name in schema.get("required", ())}
            optional = {name: part for name, part in fields.items() if name not in required}
            return st.fixed_dictionaries(required, optional=optional)
        case {"type": "object"}:
            return st.dictionaries(TEXTS, values(schema["additionalProperties"]), max_size=2)
        case _:
            return TEXTS


(KIND,) = (one for one in KINDS if one.model is MTPModel)
SPEC = KIND.definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
BASE = {"model": {"uri": "pvc://weights/model.gguf"}, "engine": {"type": "LlamaCpp"}}


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A model that is in order but for a few fields."""
    spec: dict[str, Any] = {name: dict(part) for name, part in BASE.items()}
    if draw(st.booleans()):
        spec["model"]["uri"] = "pvc://weights/model"
        spec["engine"] = draw(st.sampled_from([{"type": "VLLM"}, {"type": "SGLang", "image": "sglang:1"}])).copy()
    for name in draw(st.sets(st.sampled_from(sorted(SPEC)), max_size=2)):
        properties = SPEC[name].get("properties")
        if properties is None:
            spec[name] = draw(values(SPEC[name]))
            continue
        place = spec.setdefault(name, {})
        for field in draw(st.sets(st.sampled_from(sorted(properties)), max_size=2)):
            place[field] = draw(values(properties[field]))
    return {"apiVersion": "mtp-operator.dev/v1alpha1", "kind": "MTPModel", "metadata": {"name": "m"}, "spec": spec}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents())
def test_what_is_taken_can_be_rendered(document: dict[str, Any]) -> None:
    if not complaints(document):
        assert rendered_objects(model_of(document, "llm"), Installation())
