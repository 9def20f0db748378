"""`llama-server`: its flags as fields of an MTPModel."""

from typing import Any, Final

from mtp_operator.api.engines.llamacpp_settings import METHODS

from .extra import add_argument
from .found import Draft, Flag, flags
from .vllm_flags import note_n

_SHORT: Final = {
    "-m": "--model", "-c": "--ctx-size", "-ngl": "--gpu-layers", "--n-gpu-layers": "--gpu-layers", "-np": "--parallel",
    "-fa": "--flash-attn", "-md": "--spec-draft-model", "--model-draft": "--spec-draft-model", "-b": "--batch-size",
    "-ub": "--ubatch-size", "-t": "--threads", "-tb": "--threads-batch", "-ts": "--tensor-split", "-sm": "--split-mode",
    "-mg": "--main-gpu", "-ot": "--override-tensor", "-ctk": "--cache-type-k", "-ctv": "--cache-type-v",
    "-hf": "--hf-repo", "-hfr": "--hf-repo", "-hff": "--hf-file", "-a": "--alias", "-n": "--predict",
    "--n-predict": "--predict", "-ngld": "--spec-draft-ngl", "--gpu-layers-draft": "--spec-draft-ngl",
    "--n-gpu-layers-draft": "--spec-draft-ngl", "-cmoe": "--cpu-moe", "-ncmoe": "--n-cpu-moe", "-mm": "--mmproj",
    "-s": "--seed", "-kvu": "--kv-unified", "-ctkd": "--spec-draft-type-k",
    "--cache-type-k-draft": "--spec-draft-type-k",
    "-ctvd": "--spec-draft-type-v", "--cache-type-v-draft": "--spec-draft-type-v", "-cram": "--cache-ram",
    "-to": "--timeout", "-dev": "--device", "-lv": "--verbosity", "-cb": "--cont-batching",
    "-nocb": "--no-cont-batching",
    "--draft-max": "--spec-draft-n-max", "--draft": "--spec-draft-n-max", "--draft-n": "--spec-draft-n-max",
    "--draft-min": "--spec-draft-n-min", "--draft-n-min": "--spec-draft-n-min", "--draft-p-min": "--spec-draft-p-min",
    "--draft-p-split": "--spec-draft-p-split", "--temperature": "--temp", "-e": "--escape",
    "-lm": "--load-mode", "-dio": "--direct-io", "-ndio": "--no-direct-io",
}  # fmt: skip

_LEFT_OUT: Final = {
    "--host": "the operator sets it: kubelet and the Service reach the pod by its address",
    "--metrics": "the operator sets it",
    "--offline": "the operator sets it",
    "--no-direct-io": "has been removed from llama-server, which reads with direct I/O only where --load-mode says dio",
    "--no-webui": "the operator turns the web page off",
    "--no-ui": "the operator turns the web page off",
    "--hf-token": "make a Secret of it and name it in spec.model.tokenSecretRef",
}

_SWITCHES: Final = ("--no-", "--jinja", "--metrics", "--mmap", "--mlock", "--direct-io")

_LOAD_MODES: Final = {"--mmap": "mmap", "--no-mmap": "none", "--mlock": "mlock", "--direct-io": "dio"}
"""Switches that have been removed from llama-server -> the value of --load-mode in their place."""

_MILLI: Final = {"--spec-draft-p-min": "pMinMilli", "--spec-draft-p-split": "pSplitMilli"}
_NUMBERS: Final = {"--spec-draft-n-min": "nMin", "--spec-ngram-map-k-size-n": "nGramTokens"}
_TEXTS: Final = {"--spec-draft-type-k": "cacheTypeK", "--spec-draft-type-v": "cacheTypeV"}
_FILES: Final = ("--chat-template-file", "--grammar-file", "--json-schema-file", "--mmproj")


def read(draft: Draft) -> None:
    """Put what the command line says into the draft."""
    context: int | None = None
    parallel = 1
    repository = file = ""
    types: list[str] = []
    modes: list[str] = []
    for one in flags([*_in_variables(draft), *draft.deployed.arguments], _SHORT, _SWITCHES):
        if isinstance(one, str):
            draft.leave(one, "is not a flag of llama-server")
            continue
        value = one.value or ""
        match one.name:
            case "--model":
                draft.put_weights("model", value, is_path=True)
            case "--hf-repo":
                repository = value
            case "--hf-file":
                file = value
            case "--ctx-size" if value.isdigit():
                context = int(value)
            case "--parallel" if value.isdigit():
                parallel = int(value)
            case "--spec-type":
                types = value.split(",")
            case name if name in _LOAD_MODES:
                modes.append(_LOAD_MODES[name])
            case _:
                _flag(draft, one)
    if modes:
        # To lock the memory says more than how it was filled.
        mode = "mlock" if "mlock" in modes else modes[-1]
        add_argument(draft, Flag("--load-mode", mode))
    if repository:
        name, _, tag = repository.partition(":")
        # What llama-server itself looks for first.
        quantization = tag or "Q4_K_M"
        draft.put("model.uri", f"hf://{name}/{file or f'*{quantization}*.gguf'}")
    if parallel != 1:
        draft.put("engine.llamaCpp.parallel", parallel)
    if context:
        draft.put("engine.llamaCpp.contextSize", context // parallel)
        if context % parallel:
            draft.notes.append(f"--ctx-size {context} is shared by {parallel} slots: {context // parallel} tokens each")
    elif context == 0:
        draft.leave("--ctx-size=0", "the context has to be stated: engine.llamaCpp.contextSize, by default 4096")
    _method(draft, types)
    if draft.deployed.gpus:
        draft.put("accelerator.count", draft.deployed.gpus)


def _in_variables(draft: Draft) -> list[str]:
    """Flags that variables stand for; a flag itself wins over them."""
    named = {
        name.removeprefix("LLAMA_ARG_").lower().replace("_", "-"): value
        for name, value in draft.deployed.environment.items()
        if name.startswith("LLAMA_ARG_")
    }
    return [f"--{name}" if value in ("1", "true", "on") else f"--{name}={value}" for name, value in named.items()]


def _flag(draft: Draft, flag: Flag) -> None:
    value = flag.value or ""
    match flag.name:
        case "--alias" if value:
            names = value.split(",")
            draft.put("model.servedName", names[0])
            if names[1:]:
                draft.put("model.aliases", names[1:])
        case "--gpu-layers":
            draft.put("engine.llamaCpp.gpuLayers", _layers(value))
        case "--flash-attn":
            if value in ("off", "0", "false"):
                draft.put("engine.llamaCpp.flashAttention", "Disabled")
            elif value == "auto":
                draft.notes.append("--flash-attn=auto becomes Enabled: each n is measured with the same kernels")
        case "--spec-draft-n-max" if value.isdigit():
            note_n(draft, int(value))
        case "--spec-draft-model" if value:
            draft.put_weights("speculation.drafter", value, is_path=True)
        case "--spec-draft-ngl":
            draft.put("speculation.llamaCpp.gpuLayers", _layers(value))
        case name if name in _MILLI:
            if (share := draft.number(flag)) is not None:
                draft.put(f"speculation.llamaCpp.{_MILLI[name]}", round(share * 1000))
        case name if name in _NUMBERS and value.isdigit():
            draft.put(f"speculation.llamaCpp.{_NUMBERS[name]}", int(value))
        case name if name in _TEXTS:
            draft.put(f"speculation.llamaCpp.{_TEXTS[name]}", value)
        case "--port" if value.isdigit():
            draft.put("serving.port", int(value))
        case "--fit" if value == "off":
            pass
        case name if name in _LEFT_OUT:
            draft.leave(name, _LEFT_OUT[name])
        case name if name in _FILES and value.startswith(("/", "./")):
            add_argument(draft, Flag(name, _file(draft, value)))
        case _ if len(flag.values) > 1:
            draft.leave(f"{flag.name} {' '.join(flag.values)}", "extraArgs take one value a flag")
        case _:
            add_argument(draft, flag)


def _file(draft: Draft, path: str) -> str:
    """A file beside the model stays where it is: its claim is mounted anyway."""
    if draft.is_of_this_machine:
        return path
    mount, model = draft.mount_of(path), str(draft.get("model.uri") or "")
    claim = mount.claim if mount else path.strip("/").split("/")[0]
    if (mount is None or mount.claim) and model.startswith(f"pvc://{claim}/"):
        return "/models/" + draft.uri(path).removeprefix("pvc://")
    return draft.file(path)


def _layers(value: str) -> int:
    return int(value) if value.lstrip("-").isdigit() else -1


def _method(draft: Draft, types: list[str]) -> None:
    known: dict[str, str] = {name: method for method, name in METHODS.items()}
    known |= {"mtp": "MTP", "ngram-simple": "NGram"}
    stated: list[Any] = [known[one] for one in types if one in known]
    for one in types[1:] if stated else types:
        draft.leave(f"--spec-type {one}", "one way of drafting is measured at a time; make a second MTPModel for it")
    if stated:
        if stated[0] != "MTP":
            draft.put("speculation.method", stated[0])
        return
    draft.notes.append("no speculation was set: MTP is tried; other ways of drafting are in spec.speculation.method")
