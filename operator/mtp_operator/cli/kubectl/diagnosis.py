"""What the doctor says of what it saw."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mtp_operator.api.reasons import GROUPS, REASONS

from .documents import Check
from .gpu_room import gpu_nodes
from .seen import Bodies, Body, Unseen
from .text import counted

LEAST_KUBERNETES: Final = (1, 33)

_DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"
_PULL_FAILURES: Final = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
_DOWNLOADS: Final = frozenset(one.name for one in GROUPS["Download of weights"])
_ENFORCE: Final = "pod-security.kubernetes.io/enforce"
_NAMES_SHOWN: Final = 4

Result = Literal["ok", "warning", "failed", "unknown"]


@dataclass(frozen=True)
class Facts:
    """What was seen of the cluster, or why it was not."""

    version: Body | Unseen
    crds: Bodies
    own_crds: Sequence[Body]
    """As this version of the command knows them."""
    operators: Bodies
    """Deployments of the operator, of all namespaces."""
    own_version: str
    nodes: Bodies
    pods: Bodies
    """Of all namespaces: they hold GPUs."""
    storage_classes: Bodies
    namespace: Body | Unseen
    namespace_pods: Bodies
    dns_endpoints: Bodies
    models: Bodies


def checks(facts: Facts) -> tuple[Check, ...]:
    """All checks, in the order in which one would fix what they find."""
    return tuple(check for judge in _JUDGES for check in judge(facts))


def _check(name: str, result: Result, message: str, action: str = "") -> Check:
    return Check(name=name, result=result, message=message, action=action)


def _unknown(name: str, unseen: Unseen) -> Check:
    return _check(name, "unknown", unseen.why)


def _kubernetes(facts: Facts) -> Iterator[Check]:
    if isinstance(facts.version, Unseen):
        yield _unknown("Kubernetes", facts.version)
        return
    said = str(facts.version.get("gitVersion", ""))
    found = re.match(r"v(\d+)\.(\d+)", said)
    least = ".".join(map(str, LEAST_KUBERNETES))
    if found is None:
        yield _check("Kubernetes", "unknown", f"the API server states no version: {said!r}")
    elif (int(found[1]), int(found[2])) < LEAST_KUBERNETES:
        yield _check("Kubernetes", "failed", f"{said}; {least} is needed", f"Upgrade the cluster to {least} or newer.")
    else:
        yield _check("Kubernetes", "ok", said)


def _crds(facts: Facts) -> Iterator[Check]:
    if isinstance(facts.crds, Unseen):
        yield _unknown("CRDs", facts.crds)
        return
    there = {one["metadata"]["name"]: one for one in facts.crds}
    for own in facts.own_crds:
        name = own["metadata"]["name"]
        if name not in there:
            yield _check(
                "CRDs", "failed", f"{name} is not installed", "Install the chart, or `kubectl apply -f crds/`."
            )
            continue
        ours, theirs = _fields(own), _fields(there[name])
        missing, more = sorted(ours - theirs), sorted(theirs - ours)
        if not missing and not more:
            yield _check("CRDs", "ok", f"{name} has the fields of this version")
            continue
        which = f"lacks {_listed(missing)}" if missing else f"also has {_listed(more)}"
        action = "Upgrade the chart's CRDs." if missing else "Upgrade kubectl-mtp to the version of the operator."
        yield _check("CRDs", "warning", f"{name} is of another version: it {which}", action)


def _fields(crd: Body) -> set[str]:
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return set(_paths(schema, ""))


def _paths(schema: Body, prefix: str) -> Iterator[str]:
    for name, part in (schema.get("properties") or {}).items():
        if prefix or name in ("spec", "status"):
            yield f"{prefix}{name}"
            yield from _paths(part, f"{prefix}{name}.")
    if isinstance(schema.get("items"), dict):
        yield from _paths(schema["items"], prefix)


def _operator(facts: Facts) -> Iterator[Check]:
    if isinstance(facts.operators, Unseen):
        yield _unknown("Operator", facts.operators)
        return
    if not facts.operators:
        yield _check("Operator", "failed", "no Deployment of the operator was found", "Install the chart.")
    for one in facts.operators:
        metadata = one["metadata"]
        name = f"{metadata['namespace']}/{metadata['name']}"
        version = (metadata.get("labels") or {}).get("app.kubernetes.io/version", "")
        if not (one.get("status") or {}).get("readyReplicas"):
            yield _check(
                "Operator", "failed", f"{name} has no ready pod", f"kubectl -n {metadata['namespace']} describe pod"
            )
        elif version and version != facts.own_version:
            said = f"{name} is version {version}, this command is {facts.own_version}"
            yield _check("Operator", "warning", said, "Use the same version of both.")
        else:
            yield _check("Operator", "ok", f"{name} is ready, version {version or 'not stated'}")


def _gpus(facts: Facts) -> Iterator[Check]:
    if isinstance(facts.nodes, Unseen):
        yield _unknown("GPUs", facts.nodes)
        return
    there = gpu_nodes(facts.nodes, () if isinstance(facts.pods, Unseen) else facts.pods)
    if not there:
        action = "Install the NVIDIA device plugin or GPU operator. Ignore this with Dynamic Resource Allocation."
        yield _check("GPUs", "warning", "no node has an allocatable nvidia.com/gpu", action)
        return
    total, free = sum(one.allocatable for one in there), sum(one.free for one in there)
    if isinstance(facts.pods, Unseen):
        yield _check(
            "GPUs", "ok", f"{total} on {counted(len(there), 'node')}; how many are free is not known: {facts.pods.why}"
        )
    elif free:
        yield _check("GPUs", "ok", f"{free} of {total} are free, on {counted(len(there), 'node')}")
    else:
        action = "Free one, or set spec.serving.rollout.strategy: InPlace."
        yield _check("GPUs", "warning", f"none of {total} is free", action)
    unlabelled = [one.name for one in there if not one.family or not one.product]
    if unlabelled:
        said = f"nvidia.com/gpu.family or .product is missing on {_listed(unlabelled)}"
        action = "Install GPU Feature Discovery, or set spec.accelerator.architecture: Any."
        yield _check("GPU labels", "failed", said, action)
    else:
        families = sorted({one.family for one in there})
        others = "" if "blackwell" in families else "; the default architecture is Blackwell: set spec.accelerator"
        yield _check("GPU labels", "warning" if others else "ok", f"families: {', '.join(families)}{others}")


def _storage(facts: Facts) -> Iterator[Check]:
    if isinstance(facts.storage_classes, Unseen):
        yield _unknown("StorageClass", facts.storage_classes)
        return
    defaults = [
        one["metadata"]["name"]
        for one in facts.storage_classes
        if (one["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"
    ]
    if defaults:
        yield _check("StorageClass", "ok", f"{_listed(defaults)} is the default")
    else:
        action = "Mark one as default, or name one in spec.storage.newClaim.storageClassName."
        yield _check("StorageClass", "warning", "no StorageClass is the default", action)


def _images(facts: Facts) -> Iterator[Check]:
    if isinstance(facts.namespace_pods, Unseen):
        yield _unknown("Image pull", facts.namespace_pods)
        return
    failing = [name for pod in facts.namespace_pods if (name := _unpulled(pod))]
    if failing:
        action = "Correct the image, or add spec.template.imagePullSecrets."
        yield _check("Image pull", "failed", f"an image cannot be pulled: {_listed(failing)}", action)
    else:
        yield _check("Image pull", "ok", f"no pod of {len(facts.namespace_pods)} in the namespace waits for an image")


def _unpulled(pod: Body) -> str:
    status = pod.get("status") or {}
    for one in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        if ((one.get("state") or {}).get("waiting") or {}).get("reason") in _PULL_FAILURES:
            return f"{one.get('image', '')} (pod {pod['metadata']['name']})"
    return ""


def _pod_security(facts: Facts) -> Iterator[Check]:
    if isinstance(facts.namespace, Unseen):
        yield _unknown("Pod Security", facts.namespace)
        return
    level = (facts.namespace["metadata"].get("labels") or {}).get(_ENFORCE, "not enforced")
    refused = [] if isinstance(facts.models, Unseen) else _models_with(facts.models, lambda one: "PodSecurity" in one)
    if refused:
        action = "Read the quoted refusal: a field of spec.template breaks the level."
        yield _check("Pod Security", "failed", f"level {level} refuses pods of {_listed(refused)}", action)
    else:
        yield _check("Pod Security", "ok", f"level {level}; the operator's pods conform to restricted")


def _dns(facts: Facts) -> Iterator[Check]:
    if isinstance(facts.dns_endpoints, Unseen):
        yield _unknown("DNS", facts.dns_endpoints)
        return
    ready = sum(
        bool((endpoint.get("conditions") or {}).get("ready"))
        for one in facts.dns_endpoints
        for endpoint in one.get("endpoints") or ()
    )
    if ready:
        yield _check("DNS", "ok", f"kube-dns has {counted(ready, 'ready endpoint')}")
    else:
        action = "Check the cluster's DNS pods; a cluster whose DNS has another name may ignore this."
        yield _check("DNS", "warning", "the Service kube-dns of kube-system has no ready endpoint", action)


def _hub(facts: Facts) -> Iterator[Check]:
    if isinstance(facts.models, Unseen):
        yield _unknown("Hub", facts.models)
        return
    failing = _models_with(facts.models, lambda _: True, _DOWNLOADS)
    if failing:
        yield _check("Hub", "failed", f"weights cannot be downloaded: {_listed(failing)}", "kubectl mtp explain REASON")
        return
    fetched = sum(bool(((one.get("status") or {}).get("weights") or {}).get("fetched")) for one in facts.models)
    said = f"{counted(fetched, 'model')} with downloaded weights" if fetched else "no model has downloaded weights yet"
    yield _check("Hub", "ok", f"{said}; none reports a failure")


def _blocked(facts: Facts) -> Iterator[Check]:
    if isinstance(facts.models, Unseen):
        yield _unknown("Models", facts.models)
        return
    stalled = _models_with(facts.models, lambda _: True, None, "Stalled")
    if stalled:
        action = "kubectl mtp status NAME, kubectl mtp explain REASON"
        yield _check("Models", "failed", f"blocked: {_listed(stalled)}", action)
    else:
        yield _check("Models", "ok", f"none of {counted(len(facts.models), 'model')} in the namespace is blocked")


def _models_with(
    models: Sequence[Body],
    says: Callable[[str], bool],
    reasons: frozenset[str] | None = None,
    type_: str | None = None,
) -> list[str]:
    """Models with such a condition, each with its reason."""
    found = []
    for model in models:
        for one in (model.get("status") or {}).get("conditions") or ():
            is_held = type_ is None or (one["type"] == type_ and one["status"] == "True")
            if is_held and says(one.get("message", "")) and (reasons is None or one["reason"] in reasons):
                known = one["reason"] if one["reason"] in REASONS else "unknown reason"
                found.append(f"{model['metadata']['name']} ({known})")
                break
    return found


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more


_JUDGES: Final[Sequence[Callable[[Facts], Iterator[Check]]]] = (
    _kubernetes,
    _crds,
    _operator,
    _gpus,
    _storage,
    _images,
    _pod_security,
    _dns,
    _hub,
    _blocked,
)
