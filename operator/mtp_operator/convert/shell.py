"""Command lines: `vllm serve …`, `llama-server …`, `docker run …`."""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Final

from mtp_operator.api.spec import EngineType

from .found import ConvertError, Deployed, Mount

_DOCKER_SWITCHES: Final = frozenset(
    {"-d", "--detach", "-i", "-t", "-it", "-ti", "--interactive", "--tty", "--rm", "--privileged", "--init", "-P"}
)

_DOCKER_FLAGS: Final = {
    "--ipc": "the pod has /dev/shm of its own: spec.template.sharedMemory",
    "--network": "the pod has its own network",
    "--net": "the pod has its own network",
    "--privileged": "pods are not privileged",
    "--ulimit": "set limits on the nodes",
    "--restart": "Kubernetes restarts servers",
    "--gpus": "",
    "--runtime": "name it in spec.template.runtimeClassName",
    "--user": "spec.template.securityContext.runAsUser",
    "--name": "",
    "-p": "",
    "--publish": "",
}

_VARIABLE: Final = re.compile(r"(\w+)(?::?([-+?])(.*))?", re.DOTALL)


def expanded(text: str, variables: Mapping[str, str] | None = None) -> str:
    """The text with `${NAME:-default}` and the like replaced, as far as that can be known."""
    begin = text.find("${")
    end = _closing(text, begin + 2) if begin >= 0 else -1
    match = _VARIABLE.fullmatch(text[begin + 2 : end]) if end >= 0 else None
    if match is None:
        return text
    name, kind, word = match.groups()
    stated = (variables or {}).get(name) or ""
    if kind == "+":
        value = expanded(word, variables) if stated else ""
    elif kind == "-" and not stated:
        value = expanded(word, variables)
    else:
        value = stated or text[begin : end + 1]
    return text[:begin] + value + expanded(text[end + 1 :], variables)


def _closing(text: str, begin: int) -> int:
    """Where the brace closes that was opened before `begin`; -1 if it does not."""
    depth = 1
    for index in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if depth == 0:
            return index
    return -1


def from_command_line(text: str) -> Deployed:
    """What a command line of a shell starts.

    Raises:
        ConvertError: it starts no engine that is known.
    """
    try:
        words = shlex.split(expanded(text.replace("\\\n", " ")), comments=True)
    except ValueError as error:
        raise ConvertError(f"the command line cannot be read: {error}") from None
    environment: dict[str, str] = {}
    while words and (words[0] in ("export", "env", "sudo", "exec") or re.match(r"[A-Za-z_]\w*=", words[0])):
        name, equals, value = words.pop(0).partition("=")
        if equals:
            environment[name] = value
    if words[:2] in (["docker", "run"], ["podman", "run"]):
        return _container(words[2:], environment)
    engine, arguments = engine_in(words)
    before = len(words) - len(arguments)
    command = words[:before] if words[before:] == arguments else []
    return Deployed(engine, arguments, environment=environment, command=command)


def engine_in(words: Sequence[str], image: str = "") -> tuple[EngineType, list[str]]:
    """The engine that the words start, and what it is started with.

    Args:
        words: command and arguments.
        image: in whose entry point the engine may be.

    Raises:
        ConvertError: they start no engine that is known.
    """
    starts = ("\n", " serve ", "llama-server ", "launch_server ")
    inner = next((word for word in words if any(one in word for one in starts)), None)
    if inner is not None and any(word in ("-c", "-lc", "-ec") for word in words):
        words = shlex.split(expanded(inner.replace("\\\n", " ")), comments=True)
    for index, word in enumerate(words):
        if word.endswith("llama-server") or word == "llama":
            return EngineType.LLAMA_CPP, list(words[index + 1 :])
        if word.split("/")[-1] == "vllm" and words[index + 1 : index + 2] == ["serve"]:
            return EngineType.VLLM, list(words[index + 2 :])
        if word.endswith("vllm.entrypoints.openai.api_server"):
            return EngineType.VLLM, list(words[index + 1 :])
        if word.split("/")[-1] == "sglang" and words[index + 1 : index + 2] == ["serve"]:
            return EngineType.SGLANG, list(words[index + 2 :])
        if word.endswith(("sglang.launch_server", "sglang/launch_server.py")):
            return EngineType.SGLANG, list(words[index + 1 :])
    if "sglang" in image:
        return EngineType.SGLANG, list(words)
    if "llama" in image and "vllm" not in image:
        return EngineType.LLAMA_CPP, list(words)
    if "vllm" in image:
        return EngineType.VLLM, list(words)
    raise ConvertError(
        "starts none of `vllm serve`, `llama-server` and `sglang serve`: other engines and start scripts cannot be "
        "expressed; see docs/limits.md"
    )


def _container(words: list[str], environment: dict[str, str]) -> Deployed:
    mounts: list[Mount] = []
    left_out: list[str] = []
    name, gpus, entrypoint = "", None, ""
    while words and words[0].startswith("-"):
        word = words.pop(0)
        flag, equals, value = word.partition("=")
        if not equals and flag not in _DOCKER_SWITCHES and words:
            value = words.pop(0)
        match flag:
            case "-e" | "--env":
                key, _, stated = value.partition("=")
                environment[key] = stated
            case "-v" | "--volume" | "--mount":
                mounts += named_volume(value)
            case "--name":
                name = value
            case "--gpus":
                gpus = int(value) if value.isdigit() else value.count(",") + 1 if "device" in value else None
            case "--shm-size":
                left_out.append(f"--shm-size={value}: spec.template.sharedMemory is 16Gi where nothing else is said")
            case "--entrypoint":
                entrypoint = value
            case _ if flag in _DOCKER_SWITCHES and flag != "--privileged":
                pass
            case _ if _DOCKER_FLAGS.get(flag, "has no place in a pod"):
                left_out.append(f"{word}: {_DOCKER_FLAGS.get(flag, 'has no place in a pod')}")
    if not words:
        raise ConvertError("the command line names no image")
    image, *rest = words
    engine, arguments = engine_in([*entrypoint.split(), *rest], image)
    return Deployed(engine, arguments, name, image, environment, mounts, gpus, left_out=left_out)


def named_volume(text: str) -> list[Mount]:
    """A folder of the machine that is mounted: its claim has to be made, and is named after it."""
    source, _, rest = text.partition(":")
    path = rest.split(":")[0]
    if not path or "huggingface" in path:
        return []
    name = re.sub("[^a-z0-9]+", "-", source.rstrip("/").rsplit("/", 1)[-1].lower()).strip("-")
    return [Mount(path, claim=name or "models")]
