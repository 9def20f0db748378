"""`vllm serve`: its flags as fields of an MTPModel."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from mtp_operator.api.base import MAX_N_SPEC
from mtp_operator.api.engines.vllm_settings import METHODS

from .extra import add_argument
from .found import ConvertError, Draft, Flag, flags

_SHORT: Final = {
    "-tp": "--tensor-parallel-size",
    "-dp": "--data-parallel-size",
    "-pp": "--pipeline-parallel-size",
    "-ep": "--enable-expert-parallel",
    "-q": "--quantization",
    "-sc": "--speculative-config",
    "-cc": "--compilation-config",
    "-ac": "--attention-config",
    "-kc": "--kernel-config",
    "-O": "--optimization-level",
    **{f"-O{level}": f"--optimization-level={level}" for level in range(4)},
    **{f"--{name}": "--speculative-config" for name in ("speculative_config",)},
    "--max_model_len": "--max-model-len",
}

_SWITCHES: Final = (
    *("--enable-", "--disable-", "--no-", "--trust-", "--enforce-eager", "--async-scheduling", "--language-model-only"),
    *("--calculate-kv-scales", "--return-", "--allow-", "--skip-"),
)

_SIZES: Final = {"k": 1000, "m": 1_000_000, "g": 10**9, "K": 1024, "M": 1024**2, "G": 1024**3}

_SIZE_FIELDS: Final = {
    "--max-num-seqs": "engine.vllm.maxNumSeqs",
    "--tensor-parallel-size": "engine.vllm.tensorParallelSize",
    "--data-parallel-size": "engine.vllm.dataParallelSize",
}

_SPECULATION: Final = {
    "draft_tensor_parallel_size": "draftTensorParallelSize",
    "moe_backend": "moeBackend",
    "attention_backend": "attentionBackend",
    "quantization": "quantization",
    "kv_cache_dtype": "kvCacheDtype",
    "max_model_len": "maxModelLen",
    "prompt_lookup_min": "promptLookupMin",
    "prompt_lookup_max": "promptLookupMax",
    "suffix_decoding_max_cached_requests": "suffixCachedRequests",
}

_NAMES: Final = {
    "rejection_sample_method": ("rejectionSampleMethod", {"standard": "Standard", "block": "Block"}),
    "draft_sample_method": ("draftSampleMethod", {"greedy": "Greedy", "probabilistic": "Probabilistic"}),
}

_LEFT_OUT: Final = {
    "--host": "the operator sets it: kubelet and the Service reach the pod by its address",
    "--hf-token": "make a Secret of it and name it in spec.model.tokenSecretRef",
    "--download-dir": "weights are fetched onto the PVC of spec.storage",
}

_FILES: Final = ("--chat-template", "--reasoning-parser-plugin", "--tool-parser-plugin")


def read(draft: Draft) -> None:
    """Put what the command line says into the draft.

    Raises:
        ConvertError: it starts an engine on several nodes.
    """
    drafting: dict[str, Any] = {}
    for one in flags(draft.deployed.arguments, _SHORT, _SWITCHES):
        if isinstance(one, str):
            if draft.get("model.uri") is None:
                draft.put_weights("model", one)
            else:
                draft.leave(one, "is neither a flag nor the model")
        elif one.name == "--speculative-config":
            drafting |= _configuration(draft, one)
        elif one.name in ("--spec-method", "--spec-model", "--spec-tokens"):
            key = {"method": "method", "model": "model", "tokens": "num_speculative_tokens"}[one.name[7:]]
            drafting[key] = one.value
        else:
            _flag(draft, one)
    _speculation(draft, drafting)
    copies = (draft.get("engine.vllm.tensorParallelSize") or 1) * (draft.get("engine.vllm.dataParallelSize") or 1)
    draft.put("accelerator.count", max(copies, draft.deployed.gpus or 1))


def _flag(draft: Draft, flag: Flag) -> None:
    value = flag.value
    match flag.name:
        case "--model" if value:
            draft.put_weights("model", value)
        case "--revision" if value and re.fullmatch("[0-9a-f]{40}", value):
            draft.put("model.revision", value)
        case "--revision":
            draft.leave(str(flag), "is not a commit; the operator fetches the newest, and says which that was")
        case "--served-model-name" if flag.values:
            names = [name for part in flag.values for name in part.split()]
            draft.put("model.servedName", names[0])
            if names[1:]:
                draft.put("model.aliases", names[1:])
        case "--max-model-len" if value in ("auto", "-1"):
            draft.put("engine.vllm.maxModelLen", -1)
        case "--max-model-len" if value:
            _size(draft, flag, "engine.vllm.maxModelLen")
        case name if name in _SIZE_FIELDS:
            _size(draft, flag, _SIZE_FIELDS[name])
        case "--gpu-memory-utilization" if value:
            draft.put_percent("engine.vllm.gpuMemoryUtilizationPercent", flag)
        case "--enable-prefix-caching":
            draft.put("engine.vllm.prefixCaching", "Disabled" if value == "false" else "Enabled")
        case "--no-enable-prefix-caching":
            draft.put("engine.vllm.prefixCaching", "Disabled")
        case "--trust-remote-code":
            if value != "false":
                draft.put("engine.vllm.trustRemoteCode", "Enabled")
        case "--nnodes" if value not in (None, "1"):
            raise ConvertError(f"{flag}: an engine on several nodes cannot be expressed; see docs/limits.md")
        case "--port" if value and value.isdigit():
            draft.put("serving.port", int(value))
        case name if name in _LEFT_OUT:
            draft.leave(name, _LEFT_OUT[name])
        case name if name in _FILES and value and value.startswith(("/", "./", "~")):
            add_argument(draft, Flag(name, draft.file(value)))
        case "--cudagraph-capture-sizes" if len(flag.values) > 1:
            sizes = ",".join(flag.values)
            add_argument(draft, Flag("--compilation-config", f"[{sizes}]", key="cudagraph_capture_sizes"))
        case _ if len(flag.values) > 1:
            draft.leave(f"{flag.name} {' '.join(flag.values)}", "extraArgs take one value a flag")
        case _:
            add_argument(draft, flag)


def _size(draft: Draft, flag: Flag, path: str) -> None:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([kmgKMG])?", flag.value or "")
    if match is None:
        draft.unreadable(flag, "is not a number")
        return
    draft.put(path, int(float(match[1]) * _SIZES.get(match[2] or "", 1)))


def _configuration(draft: Draft, flag: Flag) -> dict[str, Any]:
    if flag.key:
        return {flag.key: _plain(flag.value or "")}
    try:
        stated = json.loads(flag.value or "")
    except ValueError:
        stated = None
    if isinstance(stated, Mapping):
        return dict(stated)
    draft.unreadable(flag, "cannot be read as JSON")
    return {}


def _plain(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _speculation(draft: Draft, stated: dict[str, Any]) -> None:
    if not stated:
        draft.notes.append("no speculation was set: MTP is tried; spec.speculation.method has other ways")
        return
    model = stated.pop("model", None)
    method = _method(draft, stated.pop("method", None), model)
    if method != "MTP":
        draft.put("speculation.method", method)
    if model and draft.uri(str(model)) != draft.get("model.uri"):
        draft.put_weights("speculation.drafter", str(model))
    _note_n(draft, stated.pop("num_speculative_tokens", None))
    if stated.pop("disable_padded_drafter_batch", None):
        draft.put("speculation.vllm.paddedDrafterBatch", "Disabled")
    if "enforce_eager" in stated:
        draft.put("speculation.vllm.enforceEager", "Enabled" if stated.pop("enforce_eager") else "Disabled")
    for key, value in stated.items():
        if key in _SPECULATION:
            draft.put(f"speculation.vllm.{_SPECULATION[key]}", _plain(value) if isinstance(value, str) else value)
        elif key in _NAMES and value in _NAMES[key][1]:
            field, names = _NAMES[key]
            draft.put(f"speculation.vllm.{field}", names[value])
        else:
            draft.leave(f"{key}={value} of --speculative-config", "spec.speculation.vllm has no such setting")


def _method(draft: Draft, stated: str | None, model: str | None) -> str:
    if stated is not None:
        for method, name in METHODS.items():
            if name == stated:
                return method
        if stated.endswith("mtp"):
            return "MTP"
        draft.leave(f"method {stated}", "is not supported; MTP takes its place")
        return "MTP"
    name = (model or "").lower()
    for method in ("Eagle3", "Eagle", "DFlash", "DSpark"):
        if method.lower() in name:
            return method
    return "MTP" if not name or "mtp" in name or "assistant" in name else "DraftModel"


def _note_n(draft: Draft, stated: Any) -> None:
    if not isinstance(stated, int) or stated < 1:
        return
    note_n(draft, stated)


def note_n(draft: Draft, n_spec: int) -> None:
    """Say what becomes of the n that was set by hand."""
    draft.n_spec = n_spec
    draft.notes.append(
        f"n_spec was {n_spec}: it is compared with n_spec 0 first, and the report says how it fares; "
        f"`speculation: {{nSpec: {n_spec}}}` keeps it without measuring"
    )
    draft.put("tuning.firstNSpec", min(n_spec, MAX_N_SPEC))
    if n_spec > 8:
        draft.put("tuning.maxNSpec", min(n_spec, MAX_N_SPEC))
