"""`spec.template`: the pod around the engine, as a cluster's rules want it. It changes no measurement but by resources.

There is no hostIPC, hostNetwork or privileged container: processes of one pod share memory without them.
"""

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field

from .affinity import LABEL_KEY, Affinity, LabelKey, LabelValue, Sparse
from .base import GROUP, rule, validated
from .container_resources import BYTES, EngineResources, HelperResources, Quantity

USER_ID: Final = 65532
"""Numeric, so that kubelet can tell that an image whose own user is root does not run as root."""

OWN_LABELS: Final = ("app.kubernetes.io/managed-by", "app.kubernetes.io/component")
"""Labels outside the operator's own domain that it finds its pods by."""

_MAX_ID: Final = 2**31 - 1


def _name_of(kind: str) -> dict[str, Any]:
    return validated(
        rule(
            "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",
            f"must be the name of a {kind}: lower-case letters, digits, '-' and '.', with a letter or digit at both "
            "ends",
        )
    )


def _keys_of_others(kind: str, *own: str) -> tuple[dict[str, str], ...]:
    """Rules for the keys of a map: in order, and none that the operator itself sets."""
    return (
        rule(f"self.all(key, key.matches('{LABEL_KEY}'))", f"must have keys of {kind}s: [<domain>/]<name>"),
        rule(
            f"!self.exists(key, key.startsWith('{GROUP}/') || key in {list(own)!r})",
            f"must have no {kind} that the operator itself sets: "
            + ", ".join([f"{GROUP}/…", *own])
            + "; use a key of your own domain",
        ),
    )


class TolerationOperator(StrEnum):
    """How a taint is compared."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(StrEnum):
    """What a taint does to pods that do not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(Sparse):
    """A taint of nodes that pods put up with."""

    model_config = ConfigDict(
        json_schema_extra=validated(
            rule(
                "!has(self.operator) || self.operator != 'Exists' || !has(self.value) || self.value == ''",
                "must be left out where operator is Exists",
                field_path=".value",
            ),
            rule(
                "has(self.key) || (has(self.operator) && self.operator == 'Exists')",
                "must be Exists where key is left out, which means every taint",
                field_path=".operator",
            ),
            rule(
                "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
                "may be set only where effect is NoExecute",
                field_path=".tolerationSeconds",
            ),
        )
    )

    key: Annotated[LabelKey | None, Field(description="Key of the taint. Default: every taint.")] = None
    operator: Annotated[
        TolerationOperator | None,
        Field(description="Exists: whatever the taint's value is; Equal: only this one. Default: Equal."),
    ] = None
    value: Annotated[LabelValue | None, Field(description="Value of the taint, where operator is Equal.")] = None
    effect: Annotated[TaintEffect | None, Field(description="Effect of the taint. Default: every effect.")] = None
    toleration_seconds: Annotated[
        int | None,
        Field(ge=0, description="How long a pod stays after the taint came, where effect is NoExecute."),
    ] = None


class WhenUnsatisfiable(StrEnum):
    """What happens where servers cannot be spread as asked for."""

    DO_NOT_SCHEDULE = "DoNotSchedule"
    SCHEDULE_ANYWAY = "ScheduleAnyway"


class TopologySpreadConstraint(Sparse):
    """How evenly the servers of the model are spread over places."""

    topology_key: Annotated[
        LabelKey,
        Field(
            description="Label of nodes whose value says what is one place, for example topology.kubernetes.io/zone."
        ),
    ]
    max_skew: Annotated[int, Field(ge=1, le=64, description="By how many servers two places may differ.")] = 1
    when_unsatisfiable: Annotated[
        WhenUnsatisfiable, Field(description="Whether a server waits where it would make the places differ more.")
    ]


class PullSecret(Sparse):
    """A Secret with the credentials of a registry."""

    name: Annotated[
        str,
        Field(
            max_length=253,
            description="Name of the Secret, in the model's namespace.",
            json_schema_extra=_name_of("Secret"),
        ),
    ]


class Identity(StrEnum):
    """Who decides the user and groups that containers run as."""

    FIXED = "Fixed"
    ASSIGNED = "Assigned"


class PodSecurity(Sparse):
    """The user and groups that containers run as; never root."""

    model_config = ConfigDict(
        json_schema_extra=validated(
            rule(
                "!has(self.identity) || self.identity != 'Assigned' || !(has(self.runAsUser) || has(self.runAsGroup) "
                "|| has(self.fsGroup) || has(self.supplementalGroups))",
                "must be Fixed where runAsUser, runAsGroup, fsGroup or supplementalGroups is set",
                field_path=".identity",
            )
        )
    )

    identity: Annotated[
        Identity,
        Field(
            description="Fixed takes the ids below. Assigned states none, for clusters that assign each namespace its "
            "own (OpenShift's restricted-v2); on others, images that run as root are then refused by kubelet."
        ),
    ] = Identity.FIXED
    run_as_user: Annotated[int | None, Field(ge=1, le=_MAX_ID, description=f"User id. Default: {USER_ID}.")] = None
    run_as_group: Annotated[int | None, Field(ge=0, le=_MAX_ID, description=f"Group id. Default: {USER_ID}.")] = None
    fs_group: Annotated[
        int | None,
        Field(
            ge=0,
            le=_MAX_ID,
            description="Group that volumes are given to; kubelet changes files only where the volume's root folder "
            "has another one. Default: runAsGroup for the pod that fetches weights, none for trials and servers.",
        ),
    ] = None
    supplemental_groups: Annotated[
        tuple[Annotated[int, Field(ge=0, le=_MAX_ID)], ...],
        Field(
            max_length=8,
            description="Further groups, for example those that own the files of a shared volume, or GPU devices "
            "(video, render).",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()


class DNSOption(Sparse):
    """An option of the resolver."""

    name: Annotated[str, Field(max_length=63, description="Its name, for example ndots.")]
    value: Annotated[str | None, Field(max_length=63, description="Its value, where it has one.")] = None


class DNSConfig(Sparse):
    """What is added to the pod's resolv.conf."""

    nameservers: Annotated[
        tuple[Annotated[str, Field(max_length=45)], ...],
        Field(
            max_length=3,
            description="IP addresses of DNS servers.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()
    searches: Annotated[
        tuple[Annotated[str, Field(max_length=253)], ...],
        Field(
            max_length=16,
            description="Domains that short names are looked up in.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()
    options: Annotated[
        tuple[DNSOption, ...],
        Field(
            max_length=8,
            description="Options of the resolver.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = ()


class PodTemplate(Sparse):
    """What the pods of trials, servers and fetches have beside what the operator itself sets."""

    labels: Annotated[
        dict[str, LabelValue],
        Field(
            max_length=32,
            description="Labels of the pods, for example those that a policy of the cluster asks for.",
            json_schema_extra=validated(*_keys_of_others("label", *OWN_LABELS)),
        ),
    ] = Field(default_factory=dict)
    annotations: Annotated[
        dict[str, Annotated[str, Field(max_length=1024)]],
        Field(
            max_length=32,
            description="Annotations of the pods, for example those of a storage driver.",
            json_schema_extra=validated(*_keys_of_others("annotation")),
        ),
    ] = Field(default_factory=dict)
    node_selector: Annotated[
        dict[str, LabelValue],
        Field(
            max_length=16,
            description="Labels that a node must have, beside what spec.accelerator asks for.",
            json_schema_extra=validated(
                rule(f"self.all(key, key.matches('{LABEL_KEY}'))", "must have keys of labels: [<domain>/]<name>")
            ),
        ),
    ] = Field(default_factory=dict)
    tolerations: Annotated[
        tuple[Toleration, ...],
        Field(
            max_length=16,
            description="Taints that the pods put up with, beside nvidia.com/gpu, which they always do.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()
    affinity: Annotated[
        Affinity | None,
        Field(description="Nodes and neighbors of the pods; the GPU of spec.accelerator is asked for in any case."),
    ] = None
    topology_spread_constraints: Annotated[
        tuple[TopologySpreadConstraint, ...],
        Field(
            max_length=4,
            description="How the servers of this model are spread over nodes or zones. Trials are not: they run one "
            "by one on one node.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["topologyKey"]},
        ),
    ] = ()
    priority_class_name: Annotated[
        str | None,
        Field(
            max_length=253,
            description="PriorityClass of the pods. A trial that is preempted is repeated and does not count.",
            json_schema_extra=_name_of("PriorityClass"),
        ),
    ] = None
    runtime_class_name: Annotated[
        str | None,
        Field(
            max_length=253,
            description="RuntimeClass of the pods. Where nodes do not give every pod NVIDIA's runtime (k3s, RKE2, "
            "Talos), nvidia: without it the engine finds no driver.",
            json_schema_extra=_name_of("RuntimeClass"),
        ),
    ] = None
    scheduler_name: Annotated[
        str | None,
        Field(
            max_length=253,
            description="Scheduler of the pods. Default: the cluster's.",
            json_schema_extra=_name_of("scheduler"),
        ),
    ] = None
    service_account_name: Annotated[
        str | None,
        Field(
            max_length=253,
            description="ServiceAccount of the pods, for image pull secrets and for a cloud's identity of volumes. Its "
            "token is not mounted. Default: default.",
            json_schema_extra=_name_of("ServiceAccount"),
        ),
    ] = None
    image_pull_secrets: Annotated[
        tuple[PullSecret, ...],
        Field(
            max_length=8,
            description="Credentials of the registries of the engine's image, and of images with weights.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = ()
    shared_memory: Annotated[
        Quantity,
        Field(
            description="Largest size of /dev/shm, which processes of one engine talk through; it is memory of the "
            "node as far as it is used.",
            json_schema_extra=BYTES,
        ),
    ] = "16Gi"
    helper_resources: Annotated[
        HelperResources | None,
        Field(
            description="CPU and memory of the containers that the operator adds: bench, probe, cache and fetch. What "
            "is stated for cpu or for memory replaces both the request and the limit that each of them has by itself. "
            "For namespaces whose LimitRange or ResourceQuota refuses these."
        ),
    ] = None
    read_only_root_filesystem: Annotated[
        bool,
        Field(
            description="Whether the engine's root file system is read-only. false where the container runtime cannot "
            "set up GPUs in one (CDI on an older crun: CreateContainerError), or an image writes beside /tmp."
        ),
    ] = True
    security_context: Annotated[
        PodSecurity, Field(description="The user and groups that containers run as; never root.")
    ] = PodSecurity()
    dns_config: Annotated[
        DNSConfig | None, Field(description="What is added to the pods' resolv.conf, beside the cluster's own.")
    ] = None
    ready_seconds: Annotated[
        int | None,
        Field(
            ge=10,
            le=86_400,
            description="Time that the engine may take until it answers, for trials and servers alike. Default: the "
            "chart's trials.readySeconds.",
        ),
    ] = None


class PodTemplateSpec(PodTemplate):
    """The pods of trials, servers and fetches, and what the engine gets of the node."""

    resources: Annotated[
        EngineResources,
        Field(
            description="CPU and memory of the engine's container, for trials and servers alike. A change of it "
            "starts a new measurement, as a change of the engine does."
        ),
    ] = EngineResources()

    @property
    def pod(self) -> PodTemplate:
        """What changes no measurement."""
        # Each field has been validated; what the installation adds may be more than one model could state.
        return PodTemplate.model_construct(**{name: getattr(self, name) for name in PodTemplate.model_fields})
