"""What the installation says, from environment variables `MTP_OPERATOR_…`."""

import os
import re
import socket
import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from mtp_operator.api.base import API_VERSION
from mtp_operator.api.spec import EngineType
from mtp_operator.api.template import PodTemplateSpec
from mtp_operator.api.weights_source import CABundle
from mtp_operator.engines import EVERY_ADDRESS
from mtp_operator.reconcile.observed import OperatorSettings
from mtp_operator.resources.network_policy import DEFAULT_CLIENTS

PREFIX = "MTP_OPERATOR_"

_NAMESPACE = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Image = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^\S+$")]


class SettingsError(ValueError):
    """A setting is missing or cannot be used; the message names each and says what is allowed."""


class Settings(BaseSettings):
    """Settings of one operator process."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    engine_image_vllm: Image
    """Default image of engines of type VLLM."""
    engine_image_llama_cpp: Image
    """Default image of engines of type LlamaCpp."""
    bench_image: Image
    """Image of the bench container: the operator's own."""
    namespaces: Annotated[tuple[str, ...], NoDecode] = ()
    """Namespaces that are served, separated by commas; empty: all."""
    nodes_readable: bool = True
    """Whether nodes may be read; without it GPU product and driver are Unknown."""
    network_policies: bool = True
    """Whether servers and trials get a NetworkPolicy."""
    server_clients: tuple[dict[str, Any], ...] = tuple(dict(one) for one in DEFAULT_CLIENTS)
    """Who may ask servers: NetworkPolicyPeers as JSON; an empty list: everybody."""

    pod_namespace: str = "default"
    """Where the Lease lies: the operator's own namespace."""
    pod_ip: str = ""
    """The first address of the operator's own pod: where it is of IPv6, servers are asked by IPv6 too."""
    identity: str = Field(default_factory=lambda: f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}")
    """Who holds the Lease; distinct for each process."""
    lease_name: str = "mtp-operator"
    lease_duration_seconds: Annotated[int, Field(ge=3, le=3600)] = 50
    """Time without a sign of life after which another replica takes over."""
    lease_renew_deadline_seconds: Seconds = 15
    """Time without a successful renewal after which this process ends itself."""
    lease_retry_seconds: Seconds = 2
    """Time between two attempts to acquire or renew."""

    workers: Annotated[int, Field(ge=1, le=64)] = 8
    """Models that are decided at the same time."""
    sweep_seconds: Seconds = 300
    """Time between two LISTs that check what the watches have brought."""
    drain_seconds: Seconds = 10
    """Time that decisions in hand have to finish after SIGTERM."""

    ready_seconds: Annotated[int, Field(ge=10, le=86_400)] = 1800
    """Time that an engine may take from the pod's start until a completion works."""
    level_seconds: Annotated[int, Field(ge=1, le=86_400)] = 300
    """Time for one concurrency level of one trial, warm-up included."""
    pending_seconds: Annotated[int, Field(ge=10, le=604_800)] = 3600
    """Time that a trial may wait for a node before a person has to look."""

    hub_endpoint: Annotated[str, Field(max_length=512, pattern=r"^(https?://[^\s/]+\S*)?$")] = ""
    """Where weights are fetched from; empty: https://huggingface.co."""
    fetch_http_proxy: Annotated[str, Field(max_length=512)] = ""
    """HTTP_PROXY of fetches."""
    fetch_https_proxy: Annotated[str, Field(max_length=512)] = ""
    """HTTPS_PROXY of fetches."""
    fetch_no_proxy: Annotated[str, Field(max_length=2048)] = ""
    """NO_PROXY of fetches."""
    hub_ca_config_map: Annotated[str, Field(max_length=253)] = ""
    """ConfigMap of each model's namespace with certificates of authorities that fetches trust; empty: none."""
    hub_ca_key: Annotated[str, Field(max_length=253)] = "ca.crt"
    """Its key with the certificates."""
    progress_seconds: Annotated[int, Field(ge=5, le=3600)] = 30
    """Time between two questions how far a fetch is: the least between two writes of its status."""
    template: PodTemplateSpec = PodTemplateSpec()
    """Defaults of spec.template of all models, as JSON."""

    health_address: str = ""
    """Where probes and scrapers are answered; empty: at every address of the pod, IPv4 and IPv6."""
    health_port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    """Port of /healthz and /readyz; 0 chooses a free one."""
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] = 8081
    """Port of /metrics; 0 chooses a free one."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("namespaces", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value

    @field_validator("namespaces")
    @classmethod
    def _are_namespaces(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not _NAMESPACE.match(name):
                raise ValueError(f"{name!r} must be the name of a namespace: a DNS label of at most 63 characters")
        return tuple(dict.fromkeys(value))

    @field_validator("template", mode="before")
    @classmethod
    def _is_a_template(cls, value: Any) -> Any:
        """By the API's own rules: a default must be a value that a model may state."""
        if isinstance(value, Mapping) and value:
            # Only a default that is set needs what judges objects.
            from mtp_operator.api.validation import complaints

            found = [str(one) for one in complaints(_model_with(value))]
            if found:
                raise ValueError("; ".join(one.removeprefix("spec.template") for one in found))
        return value

    @model_validator(mode="after")
    def _lease_times_fit(self) -> Self:
        if not self.lease_retry_seconds < self.lease_renew_deadline_seconds < self.lease_duration_seconds:
            raise ValueError(
                "lease_retry_seconds < lease_renew_deadline_seconds < lease_duration_seconds must hold: the holder "
                "has to stop before another replica takes over"
            )
        return self

    @property
    def lease_request_timeout_seconds(self) -> float:
        """Half the renew deadline: one hung request leaves time for another."""
        return self.lease_renew_deadline_seconds / 2

    @property
    def request_timeout_seconds(self) -> float:
        """Timeout of every other request: a write begun while the Lease is held ends before it can be taken over.

        An admission webhook may take 30 seconds, and one that is down takes as long; a request that is given up before
        that never succeeds. Hence the long Lease: whoever ends in an orderly way releases it at once.
        """
        return self.lease_duration_seconds - self.lease_renew_deadline_seconds

    def for_decisions(self) -> OperatorSettings:
        """The part that decisions depend on."""
        return OperatorSettings(
            engine_images={
                EngineType.VLLM: self.engine_image_vllm,
                EngineType.LLAMA_CPP: self.engine_image_llama_cpp,
            },
            bench_image=self.bench_image,
            ready_seconds=self.ready_seconds,
            level_seconds=self.level_seconds,
            pending_seconds=self.pending_seconds,
            nodes_readable=self.nodes_readable,
            progress_seconds=self.progress_seconds,
            fetch_environment=self._fetch_environment(),
            ca_bundle=CABundle(name=self.hub_ca_config_map, key=self.hub_ca_key) if self.hub_ca_config_map else None,
            template=self.template,
            network_policies=self.network_policies,
            server_host=EVERY_ADDRESS if ":" in self.pod_ip else None,
            server_clients=self.server_clients,
        )

    def _fetch_environment(self) -> dict[str, str]:
        variables = {
            "HF_ENDPOINT": self.hub_endpoint,
            "HTTP_PROXY": self.fetch_http_proxy,
            "HTTPS_PROXY": self.fetch_https_proxy,
            "NO_PROXY": self.fetch_no_proxy,
        }
        return {name: value for name, value in variables.items() if value}


def _model_with(template: Mapping[str, Any]) -> dict[str, Any]:
    """A model that is in order, but for its template perhaps."""
    spec = {"model": {"uri": "pvc://weights/model"}, "engine": {"type": "VLLM"}, "template": template}
    return {"apiVersion": API_VERSION, "kind": "MTPModel", "metadata": {"name": "model"}, "spec": spec}


def load_settings() -> Settings:
    """The settings of this process's environment.

    Raises:
        SettingsError: one line for each variable that is missing or cannot be used.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError("\n".join(map(_explain, error.errors()))) from None


def _explain(problem: Any) -> str:
    if not problem["loc"]:
        return str(problem["msg"]).removeprefix("Value error, ")
    variable = PREFIX + str(problem["loc"][0]).upper()
    if problem["type"] == "missing":
        return f"{variable} is missing"
    given = os.environ.get(variable, problem["input"])
    return f"{variable}={given!r}: {str(problem['msg']).removeprefix('Value error, ')}"
