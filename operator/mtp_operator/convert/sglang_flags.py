"""`sglang serve` and `python -m sglang.launch_server`: their flags as fields of an MTPModel."""

import re
from typing import Any, Final

from mtp_operator.api.engines.sglang_settings import METHODS

from .extra import add_argument
from .found import ConvertError, Draft, Flag, flags
from .vllm_flags import note_n

IMAGE: Final = "docker.io/lmsysorg/sglang:v0.5.23"
"""Put into a model whose command line names none: the operator has no default image of SGLang."""

_SHORT: Final = {
    "--model": "--model-path",
    "--tp": "--tp-size",
    "--tensor-parallel-size": "--tp-size",
    "--dp": "--dp-size",
    "--data-parallel-size": "--dp-size",
    "--pp": "--pp-size",
    "--pipeline-parallel-size": "--pp-size",
    "--ep": "--ep-size",
    "--expert-parallel-size": "--ep-size",
    "--speculative-draft-model": "--speculative-draft-model-path",
    "--speculative-algo": "--speculative-algorithm",
    "--mem-fraction": "--mem-fraction-static",
}
"""Other names, and beginnings that people write for the whole."""

_SIZE_FIELDS: Final = {
    "--context-length": "engine.sglang.contextLength",
    "--max-running-requests": "engine.sglang.maxRunningRequests",
    "--tp-size": "engine.sglang.tensorParallelSize",
    "--dp-size": "engine.sglang.dataParallelSize",
}

_SPECULATION: Final = {
    "--speculative-draft-attention-backend": "attentionBackend",
    "--speculative-moe-runner-backend": "moeBackend",
    "--speculative-draft-model-quantization": "quantization",
    "--speculative-draft-kv-cache-dtype": "kvCacheDtype",
}

_LEFT_OUT: Final = {
    "--host": "the operator sets it: kubelet and the Service reach the pod by its address",
    "--enable-metrics": "the operator sets it",
    "--download-dir": "weights are fetched onto the PVC of spec.storage",
    "--speculative-eagle-topk": "n_spec is the length of one chain of tokens",
    "--speculative-num-draft-tokens": "it follows from n_spec",
    "--model-type": "the operator serves language models only",
    "--nccl-port": "SGLang chooses a free one",
    "--node-rank": "there is one node",
}

_OTHER_METHODS: Final = ("--speculative-ngram-", "--speculative-dflash-", "--speculative-dspark-", "--uno-")

_ALGORITHMS: Final = {name: method for method, name in METHODS.items()}


def read(draft: Draft) -> None:
    """Put what the command line says into the draft.

    Raises:
        ConvertError: it starts an engine on several nodes.
    """
    stated: dict[str, str] = {}
    # No word but the first stands for itself.
    for one in flags(draft.deployed.arguments, _SHORT, ()):
        if isinstance(one, str):
            if draft.get("model.uri") is None:
                draft.put_weights("model", one)
            else:
                draft.leave(one, "is neither a flag nor the model")
        else:
            _flag(draft, one, stated)
    _attention_copies(draft, stated)
    _speculation(draft, stated)
    if draft.get("engine.image") is None:
        draft.put("engine.image", IMAGE)
        if not draft.is_of_this_machine:
            draft.notes.append(f"engine.image: {IMAGE} is put in, for the operator has no default image of SGLang")
    copies = (draft.get("engine.sglang.tensorParallelSize") or 1) * (draft.get("engine.sglang.dataParallelSize") or 1)
    draft.put("accelerator.count", max(copies, draft.deployed.gpus or 1))


def _flag(draft: Draft, flag: Flag, stated: dict[str, str]) -> None:
    value = flag.value
    match flag.name:
        case "--model-path" if value:
            draft.put_weights("model", value)
        case "--revision" if value and re.fullmatch("[0-9a-f]{40}", value):
            draft.put("model.revision", value)
        case "--revision":
            draft.leave(str(flag), "is not a commit; the operator fetches the newest, and says which that was")
        case "--served-model-name" if value:
            draft.put("model.servedName", value)
        case name if name in _SIZE_FIELDS and value and value.isdigit():
            draft.put(_SIZE_FIELDS[name], int(value))
        case name if name in _SIZE_FIELDS:
            draft.unreadable(flag, "is not a number")
        case "--mem-fraction-static":
            draft.put_percent("engine.sglang.memFractionStaticPercent", flag)
        case "--disable-radix-cache":
            draft.put("engine.sglang.prefixCaching", "Disabled")
        case "--trust-remote-code":
            draft.put("engine.sglang.trustRemoteCode", "Enabled")
        case "--nnodes" if value not in (None, "1"):
            raise ConvertError(f"{flag}: an engine on several nodes cannot be expressed; see docs/limits.md")
        case "--port" if value and value.isdigit():
            draft.put("serving.port", int(value))
        case "--enable-dp-attention" | "--speculative-algorithm" | "--speculative-num-steps":
            stated[flag.name] = value or ""
        case "--speculative-num-draft-tokens" if value:
            stated[flag.name] = value
        case "--speculative-draft-model-path" if value:
            stated[flag.name] = value
        case "--speculative-attention-mode" if value in ("prefill", "decode"):
            draft.put("speculation.sglang.attentionMode", value.capitalize())
        case name if name in _SPECULATION and value:
            draft.put(f"speculation.sglang.{_SPECULATION[name]}", value)
        case name if name.startswith(_OTHER_METHODS):
            draft.leave(str(flag), "belongs to a way of drafting that the operator does not tune with SGLang")
        case name if name in _LEFT_OUT:
            draft.leave(str(flag), _LEFT_OUT[name])
        case "--chat-template" if value and value.startswith(("/", "./", "~")):
            add_argument(draft, Flag(flag.name, draft.file(value)))
        case _ if len(flag.values) > 1:
            draft.leave(f"{flag.name} {' '.join(flag.values)}", "extraArgs take one value a flag")
        case _:
            add_argument(draft, flag)


def _attention_copies(draft: Draft, stated: dict[str, str]) -> None:
    """Data parallel attention splits the GPUs of one copy; SGLang has a flag of its own for it by now."""
    if "--enable-dp-attention" not in stated:
        return
    size = draft.get("engine.sglang.dataParallelSize")
    if size:
        del draft.spec["engine"]["sglang"]["dataParallelSize"]
        add_argument(draft, Flag("--attn-dp-size", str(size)))


def _speculation(draft: Draft, stated: dict[str, Any]) -> None:
    algorithm, drafter = stated.get("--speculative-algorithm"), stated.get("--speculative-draft-model-path")
    if not algorithm:
        draft.notes.append("no speculation was set: MTP is tried; spec.speculation.method has other ways")
        return
    method = _ALGORITHMS.get(algorithm.upper())
    if method is None:
        known = ", ".join(_ALGORITHMS)
        draft.leave(
            f"--speculative-algorithm={algorithm}", f"the operator tunes {known} of SGLang; MTP is put in its place"
        )
        return
    if method == "Eagle" and (not drafter or draft.uri(drafter) == draft.get("model.uri")):
        # SGLang has one name for both: without a drafter of its own, the heads are those of the model.
        method = "MTP"
    if method != "MTP":
        draft.put("speculation.method", method)
    if drafter and draft.uri(drafter) != draft.get("model.uri"):
        draft.put_weights("speculation.drafter", drafter)
    steps = stated.get("--speculative-num-steps", "")
    if steps.isdigit() and int(steps) > 0:
        note_n(draft, int(steps))
