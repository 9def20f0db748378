"""What the bench asks."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from mtp_operator.api.base import Schema, rule, validated


class PromptCategory(StrEnum):
    """A kind of built-in prompts."""

    CODE = "Code"
    CHAT = "Chat"
    SUMMARIZE = "Summarize"
    JSON = "JSON"


class ConfigMapKey(Schema):
    """A file in a ConfigMap."""

    name: Annotated[
        str,
        Field(
            max_length=253,
            description="Name of the ConfigMap, in the model's namespace.",
            json_schema_extra=validated(
                rule(
                    "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",
                    "must be the name of a ConfigMap: lower-case letters, digits, '-' and '.', with a letter or digit "
                    "at both ends",
                )
            ),
        ),
    ]
    key: Annotated[
        str,
        Field(
            max_length=253,
            description="The key that holds the file, for example prompts.jsonl or template.jinja.",
            json_schema_extra=validated(
                rule(
                    "self.matches('^[-._A-Za-z0-9]+$')",
                    "must be a key of a ConfigMap: letters, digits, '-', '_' and '.', for example prompts.jsonl",
                )
            ),
        ),
    ]


class ClaimPath(Schema):
    """A file on a PersistentVolumeClaim."""

    claim: Annotated[
        str,
        Field(
            max_length=253,
            description="Name of the PersistentVolumeClaim, in the model's namespace.",
            json_schema_extra=validated(
                rule(
                    "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",
                    "must be the name of a PersistentVolumeClaim: lower-case letters, digits, '-' and '.', with a "
                    "letter or digit at both ends",
                )
            ),
        ),
    ]
    path: Annotated[
        str,
        Field(
            max_length=512,
            description="The file, from the volume's root on, for example prompts/support.jsonl.",
            json_schema_extra=validated(
                rule(
                    "self.matches('^[A-Za-z0-9][-A-Za-z0-9._]*(/[A-Za-z0-9][-A-Za-z0-9._]*)*$')",
                    "must be a file below the volume's root: folders and a file of letters, digits, '-', '_' and '.', "
                    "each starting with a letter or digit, joined by '/'",
                )
            ),
        ),
    ]


class Prompts(Schema):
    """Where prompts come from: the built-in ones, or a JSONL file of the user's own."""

    model_config = ConfigDict(
        json_schema_extra=validated(
            rule(
                "[has(self.builtIn), has(self.configMap), has(self.pvc)].filter(one, one).size() == 1",
                "must have exactly one of builtIn, configMap and pvc",
            )
        )
    )

    built_in: Annotated[
        tuple[PromptCategory, ...] | None,
        Field(
            min_length=1,
            max_length=len(PromptCategory),
            description="Categories of the built-in prompts, measured in equal parts. Code asks for programs; Chat for "
            "advice and explanations; Summarize for a short form of a given text; JSON for structured data.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = None
    config_map: Annotated[
        ConfigMapKey | None,
        Field(
            description="Prompts of your own in a ConfigMap, as JSONL: one object a line, "
            '{"prompt": "…"} or {"messages": [{"role": "user", "content": "…"}]}, and optionally "category": "…". '
            "Categories are measured in equal parts. A line that is wrong ends the tuning with PromptsUnusable."
        ),
    ] = None
    pvc: Annotated[
        ClaimPath | None,
        Field(description="Prompts of your own in a file on a PersistentVolumeClaim, as in configMap."),
    ] = None
