"""The MTPModel as YAML, with comments on what was left out and what to look at."""

import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, Final

import yaml

from mtp_operator.api.base import API_VERSION
from mtp_operator.api.model import NAME_LIMIT
from mtp_operator.api.spec import BLOCK_DRAFTERS, FLOORS, EngineType

from . import llamacpp_flags, sglang_flags, vllm_flags
from .extra import add_environment
from .found import ConvertError, Deployed, Draft, Json

_ORDER: Final = (
    *("model", "storage", "engine", "files", "accelerator", "speculation", "template", "tuning", "serving"),
)

_READ: Final = {
    EngineType.VLLM: vllm_flags.read,
    EngineType.LLAMA_CPP: llamacpp_flags.read,
    EngineType.SGLANG: sglang_flags.read,
}

_SIZE: Final = "200Gi"
_BLOCK_SIZE: Final = 8


def converted(deployed: Deployed, is_here: Callable[[str], bool] | None = None) -> tuple[Json, Draft]:
    """The MTPModel of what somebody runs, and what is said of it.

    Args:
        deployed: what was found.
        is_here: whether a path exists, for an engine of this machine; nothing is then said of clusters.

    Raises:
        ConvertError: what was found names no model, or has a value that cannot be read and may not be left out.
    """
    draft = Draft(deployed, is_here)
    draft.spec |= {key: value for key, value in deployed.spec.items() if value}
    if deployed.image:
        _image(draft, deployed)
    _READ[deployed.engine](draft)
    add_environment(draft, deployed.environment)
    uri = draft.get("model.uri")
    if uri is None:
        raise ConvertError(
            "names no model: `vllm serve <model>`, `llama-server --model <file>` and `sglang serve <model>` do"
        )
    if deployed.resource_name not in ("", "nvidia.com/gpu"):
        draft.put("accelerator.resourceName", deployed.resource_name)
    draft.put("accelerator.architecture", "Any")
    _note(draft, "accelerator.architecture: Any takes any GPU; name yours in accelerator.products")
    if "hf://" in f"{uri} {draft.get('speculation.drafter.uri')}":
        draft.put("storage.newClaim.size", _SIZE)
        _note(draft, f"storage.newClaim.size: {_SIZE} is a guess; it has to hold what is fetched")
    _block_size(draft)
    name = model_name(deployed.name or str(draft.get("model.servedName") or "") or _last(uri))
    spec = {part: draft.spec[part] for part in _ORDER if draft.spec.get(part)}
    return {"apiVersion": API_VERSION, "kind": "MTPModel", "metadata": {"name": name}, "spec": spec}, draft


def _block_size(draft: Draft) -> None:
    """What the operator cannot read for a drafter of whole blocks: its checkpoint is not a repository of the hub."""
    drafts = draft.get("speculation.drafter.uri") or draft.get("model.uri")
    if draft.get("speculation.method") not in BLOCK_DRAFTERS:
        return
    if re.fullmatch("hf://[^/]+/[^/]+", drafts) and not draft.is_of_this_machine:
        return
    size = draft.n_spec or _BLOCK_SIZE
    draft.put("speculation.blockSize", size)
    draft.notes.append(
        f"speculation.blockSize: {size} is a guess; block_size in the drafter's config.json is the most tokens that it "
        "drafts at once"
    )


def _note(draft: Draft, of_a_cluster: str) -> None:
    if not draft.is_of_this_machine:
        draft.notes.append(of_a_cluster)


def _image(draft: Draft, deployed: Deployed) -> None:
    """The image, unless the API would refuse it: then the operator's own takes its place."""
    floor = FLOORS[deployed.engine]
    if re.search(floor.older, deployed.image):
        draft.leave(f"image {deployed.image}", f"{floor.message}; the operator's default image takes its place")
    elif not re.fullmatch(r"[a-z0-9]\S*", deployed.image) or "$" in deployed.image:
        draft.leave(
            f"image {deployed.image}", "is not the name of an image; the operator's default image takes its place"
        )
    else:
        draft.put("engine.image", deployed.image)


def to_yaml(document: Json, draft: Draft) -> str:
    """The document, after what is to be known of it."""
    lines = ["Made by `mtp init`. `mtp validate` checks it, `mtp render` shows what the operator makes of it."]
    lines += (line for part in said(draft) for line in ("", *part))
    comment = "\n".join(f"# {line}".rstrip() for line in lines)
    return f"{comment}\n{yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)}"


def said(draft: Draft) -> Iterator[list[str]]:
    """What was left out, and what to look at: the lines of each, its title first."""
    for title, items in (("Left out:", draft.left_out), ("To look at:", draft.notes)):
        if items:
            yield [title, *(line for item in dict.fromkeys(items) for line in _item(item))]


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _item(text: str) -> list[str]:
    one_line = " ".join(text.split())
    return textwrap.wrap(one_line, 116, initial_indent="- ", subsequent_indent="  ", break_long_words=False)


def model_name(text: str) -> str:
    """A name that an MTPModel may have, as near to the text as possible."""
    name = re.sub("[^a-z0-9]+", "-", text.lower().rsplit("/", 1)[-1]).strip("-")
    name = name if name[:1].isalpha() else f"model-{name}"
    return name[:NAME_LIMIT].strip("-")


def _last(uri: str) -> str:
    repository = "/".join(uri.split("/")[3:4]) if uri.startswith("hf://") else uri.rsplit("/", 1)[-1]
    return repository.removesuffix(".gguf")
