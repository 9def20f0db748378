"""Where a person wants pods beside what their GPU asks for: Kubernetes' own affinity, typed and bounded."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from .base import Schema, rule, validated

LABEL_KEY = "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
LABEL_VALUE = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"

LABEL_LENGTH = 63

LabelKey = Annotated[
    str,
    Field(
        max_length=317,
        json_schema_extra=validated(
            rule(
                f"self.matches('{LABEL_KEY}')",
                "must be the key of a label: [<domain>/]<name>, for example kubernetes.io/arch",
            )
        ),
    ),
]
LabelValue = Annotated[
    str,
    Field(
        max_length=LABEL_LENGTH,
        json_schema_extra=validated(
            rule(
                f"self.matches('{LABEL_VALUE}')",
                "must be the value of a label: letters, digits, '-', '_' and '.', with a letter or digit at both ends",
            )
        ),
    ),
]


class Sparse(Schema):
    """A part of a pod as Kubernetes spells it: what is not said is left out, so that a builder can copy it."""

    @model_serializer(mode="wrap")
    def _without_empty(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields.items()
        empty = {name: field.alias for name, field in fields if getattr(self, name) in (None, (), {})}
        document: dict[str, Any] = handler(self)
        return {name: value for name, value in document.items() if name not in empty and name not in empty.values()}


class NodeOperator(StrEnum):
    """How the label of a node is compared."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"
    GREATER = "Gt"
    LESS = "Lt"


class PodOperator(StrEnum):
    """How the label of a pod is compared."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


Values = Annotated[
    tuple[LabelValue, ...],
    Field(
        max_length=16,
        description="The values it is compared with; none with Exists and DoesNotExist, one with Gt and Lt.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    ),
]


class NodeRequirement(Sparse):
    """What one label of a node must be."""

    key: Annotated[LabelKey, Field(description="Key of the node's label.")]
    operator: Annotated[NodeOperator, Field(description="How it is compared with values.")]
    values: Values = ()


class NodeTerm(Sparse):
    """Labels of a node that must all be as stated."""

    match_expressions: Annotated[
        tuple[NodeRequirement, ...],
        Field(
            min_length=1,
            max_length=16,
            description="What the node's labels must be; all of them hold together.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ]


class NodeSelector(Sparse):
    """Nodes that will do."""

    node_selector_terms: Annotated[
        tuple[NodeTerm, ...],
        Field(
            min_length=1,
            max_length=8,
            description="Alternatives: a node must fit one of them, and have the GPU of spec.accelerator.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ]


Weight = Annotated[int, Field(ge=1, le=100, description="Weight of this preference among the others.")]


class PreferredNodes(Sparse):
    """Nodes that are better than others."""

    weight: Weight
    preference: Annotated[NodeTerm, Field(description="The nodes that are preferred.")]


class NodeAffinity(Sparse):
    """Nodes that must or should be taken."""

    required_during_scheduling_ignored_during_execution: Annotated[
        NodeSelector | None,
        Field(description="Nodes that must be taken, beside what the GPU of spec.accelerator asks for."),
    ] = None
    preferred_during_scheduling_ignored_during_execution: Annotated[
        tuple[PreferredNodes, ...],
        Field(
            max_length=8,
            description="Nodes that are taken where they have room.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()


class PodRequirement(Sparse):
    """What one label of a pod must be."""

    key: Annotated[LabelKey, Field(description="Key of the pod's label.")]
    operator: Annotated[PodOperator, Field(description="How it is compared with values.")]
    values: Values = ()


class LabelSelector(Sparse):
    """Pods with these labels; an empty one selects all pods."""

    match_labels: Annotated[
        dict[str, LabelValue], Field(max_length=16, description="Labels that the pods must have.")
    ] = Field(default_factory=dict)
    match_expressions: Annotated[
        tuple[PodRequirement, ...],
        Field(
            max_length=16,
            description="What the pods' labels must be; all of them hold together.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()


class PodTerm(Sparse):
    """Pods, and how near or far they have to be."""

    label_selector: Annotated[LabelSelector, Field(description="Selects the pods by their labels.")]
    topology_key: Annotated[
        LabelKey,
        Field(description="Label of nodes whose value says what is one place, for example kubernetes.io/hostname."),
    ]
    namespaces: Annotated[
        tuple[Annotated[str, Field(max_length=63)], ...],
        Field(
            max_length=16,
            description="Namespaces of the pods. Default: the model's own.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()


class PreferredPods(Sparse):
    """Pods that should be near or far."""

    weight: Weight
    pod_affinity_term: Annotated[PodTerm, Field(description="The pods, and what is one place.")]


class PodAffinity(Sparse):
    """Pods that must or should be in the same place, or in another one."""

    required_during_scheduling_ignored_during_execution: Annotated[
        tuple[PodTerm, ...],
        Field(
            max_length=8,
            description="Rules that must hold.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()
    preferred_during_scheduling_ignored_during_execution: Annotated[
        tuple[PreferredPods, ...],
        Field(
            max_length=8,
            description="Rules that should hold where possible.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()


class Affinity(Sparse):
    """Nodes and neighbors of a pod."""

    node_affinity: Annotated[
        NodeAffinity | None,
        Field(description="Nodes that must or should be taken; it narrows what spec.accelerator asks for."),
    ] = None
    pod_affinity: Annotated[PodAffinity | None, Field(description="Pods that must or should be near.")] = None
    pod_anti_affinity: Annotated[PodAffinity | None, Field(description="Pods that must or should be far.")] = None
