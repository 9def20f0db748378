"""What each value of the chart does, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from mtp_operator.api.base import GROUP
from mtp_operator.api.template import PodTemplateSpec
from tests.chart.rendering import (
    CHART,
    CRDS_CHART,
    EXAMPLES,
    RefusedError,
    deployment,
    environment,
    lint,
    names,
    of_kind,
    pod,
    template,
)

CLUSTER_KINDS = ("ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "Namespace")
ALL_MONITORING = {"monitoring": {name: {"enabled": True} for name in ("podMonitor", "prometheusRule", "dashboards")}}
DIGEST = "sha256:" + "ab" * 32


def paths(node: Any, prefix: str = "") -> Iterator[str]:
    """Every value of a values.yaml, by dotted path."""
    if not isinstance(node, dict) or not node:
        yield prefix
        return
    for name, value in node.items():
        yield from paths(value, f"{prefix}.{name}".strip("."))


@pytest.mark.parametrize("chart", [CHART, CRDS_CHART], ids=lambda chart: chart.name)
@pytest.mark.parametrize("values", [{}, {"extraLabels": {"team": "llm"}}])
def test_charts_lint(chart: Any, values: dict[str, Any], tmp_path: Any) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))

    assert "0 chart(s) failed" in lint(chart, f"--values={file}")


@pytest.mark.parametrize("chart", [CHART, CRDS_CHART], ids=lambda chart: chart.name)
def test_schema_and_values_name_the_same(chart: Any) -> None:
    """A value without a schema could not be set, and a schema without a value is a leftover."""
    schema = json.loads((chart / "values.schema.json").read_text())
    values = yaml.safe_load((chart / "values.yaml").read_text())

    def differences(schema: dict[str, Any], values: dict[str, Any], path: str) -> Iterator[str]:
        assert schema["additionalProperties"] is False, path
        for name in (schema["properties"].keys() - {"global"}) ^ values.keys():
            if not (path == "resources" and name == "claims"):
                yield f"{path}.{name}"
        for name, of in schema["properties"].items():
            # What a cluster asks of pods has no default to be named.
            if of.get("additionalProperties") is False and name in values and name != "template":
                yield from differences(of, values[name], name)

    assert list(differences(schema, values, "")) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"replica": 2}, "additional properties 'replica' not allowed"),
        ({"image": {"name": "x"}}, "additional properties 'name' not allowed"),
        ({"image": {"repository": "ghcr.io/one/two:tag"}}, "/image/repository"),
        ({"image": {"digest": "sha256:12"}}, "/image/digest"),
        ({"engineImages": {"VLLM": "vllm image"}}, "/engineImages/VLLM"),
        ({"replicas": "2"}, "/replicas"),
        ({"replicas": -1}, "/replicas"),
        ({"logLevel": "trace"}, "/logLevel"),
        ({"watchNamespaces": ["Team A"]}, "/watchNamespaces/0"),
        ({"watchNamespaces": "team"}, "/watchNamespaces"),
        ({"trials": {"levelSeconds": 0}}, "/trials/levelSeconds"),
        ({"hub": {"endpoint": "hub.example"}}, "/hub/endpoint"),
        ({"hub": {"caBundle": "ca.pem"}}, "/hub/caBundle"),
        ({"monitoring": {"podMonitor": {"interval": "soon"}}}, "/monitoring/podMonitor/interval"),
        ({"extraLabels": {"app.kubernetes.io/name": "mine"}}, "/extraLabels/app.kubernetes.io~1name"),
        ({"extraEnv": [{"name": "MTP_OPERATOR_LEASE_NAME", "value": "x"}]}, "/extraEnv/0/name"),
        ({"crds": {"enabled": "yes"}}, "/crds/enabled"),
        ({"hub": {"caBundle": {"configMap": "Corporate CA"}}}, "/hub/caBundle/configMap"),
        ({"template": {"runtimeClass": "nvidia"}}, "/template"),
        ({"template": ["nvidia"]}, "/template"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        template(values)


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ({}, "ghcr.io/mtp-operator/operator:0.1.0"),
        ({"repository": "r:5000/op", "tag": "dev"}, "r:5000/op:dev"),
        ({"digest": DIGEST}, f"ghcr.io/mtp-operator/operator@{DIGEST}"),
        ({"tag": "1", "digest": DIGEST}, f"ghcr.io/mtp-operator/operator:1@{DIGEST}"),
    ],
)
def test_the_image_runs_in_the_operator_and_in_the_pods_of_models(image: dict[str, str], reference: str) -> None:
    found = template({"image": image})

    assert pod(found)["containers"][0]["image"] == reference
    assert environment(found)["MTP_OPERATOR_BENCH_IMAGE"] == reference


def test_authorities_of_the_hub_reach_the_operator() -> None:
    found = environment(template({"hub": {"caBundle": {"configMap": "trust", "key": "bundle.pem"}}}))

    assert (found["MTP_OPERATOR_HUB_CA_CONFIG_MAP"], found["MTP_OPERATOR_HUB_CA_KEY"]) == ("trust", "bundle.pem")
    assert "MTP_OPERATOR_HUB_CA_CONFIG_MAP" not in environment(template())


def test_defaults_of_all_pods_reach_the_operator() -> None:
    stated = {"runtimeClassName": "nvidia", "tolerations": [{"key": "sku", "value": "gpu"}], "labels": {"a": "$(b)"}}

    assert json.loads(environment(template({"template": stated}))["MTP_OPERATOR_TEMPLATE"]) == stated
    assert "MTP_OPERATOR_TEMPLATE" not in environment(template())


def test_defaults_may_have_what_a_model_may_state() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]["template"]
    fields = {field.alias or name for name, field in PodTemplateSpec.model_fields.items()}

    assert set(schema["properties"]) == fields


def test_engine_images_may_have_digests() -> None:
    found = template({"engineImages": {"VLLM": f"docker.io/vllm/vllm-openai:v1@{DIGEST}"}})

    assert environment(found)["MTP_OPERATOR_ENGINE_IMAGE_VLLM"] == f"docker.io/vllm/vllm-openai:v1@{DIGEST}"


@pytest.mark.parametrize(
    ("values", "there", "kept"),
    [
        ({}, True, True),
        ({"crds": {"keep": False}}, True, False),
        ({"crds": {"enabled": False}}, False, False),
    ],
)
def test_crds_are_installed_and_kept_as_asked(values: dict[str, Any], there: bool, kept: bool) -> None:
    found = of_kind(template(values), "CustomResourceDefinition")

    assert {one["metadata"]["name"] for one in found} == (
        {f"mtpmodels.{GROUP}", f"mtptuningruns.{GROUP}"} if there else set()
    )
    for one in found:
        assert one["metadata"].get("annotations", {}) == ({"helm.sh/resource-policy": "keep"} if kept else {})


def test_the_charts_install_the_same_crds() -> None:
    of_operator = of_kind(template(), "CustomResourceDefinition")
    of_their_own = template(chart=CRDS_CHART, release="mtp-operator-crds")

    assert [one["spec"] for one in of_their_own] == [one["spec"] for one in of_operator]
    assert [one["metadata"]["name"] for one in of_their_own] == [one["metadata"]["name"] for one in of_operator]


def test_a_role_only_installation_has_nothing_outside_its_namespaces() -> None:
    values = {"watchNamespaces": ["team-a", "team-b"]} | yaml.safe_load("""
        crds: {enabled: false}
        rbac: {nodes: false, aggregatedRoles: false}
    """)
    found = template(values)

    assert of_kind(found, *CLUSTER_KINDS) == []
    assert {one["metadata"]["namespace"] for one in found} == {"mtp-system", "team-a", "team-b"}
    assert environment(found)["MTP_OPERATOR_NAMESPACES"] == "team-a,team-b"
    assert environment(found)["MTP_OPERATOR_NODES_READABLE"] == "false"


def test_a_role_has_the_rules_of_the_cluster_role() -> None:
    (cluster,) = (
        one for one in of_kind(template(), "ClusterRole") if one["metadata"]["name"] == "mtp-system.mtp-operator"
    )
    roles = of_kind(template({"watchNamespaces": ["team-a"]}), "Role")

    assert cluster["rules"] in [one["rules"] for one in roles if one["metadata"]["namespace"] == "team-a"]


def test_the_operator_is_granted_no_secret_no_wildcard_and_no_way_to_more() -> None:
    found = template()
    bound = {one["roleRef"]["name"] for one in of_kind(found, "ClusterRoleBinding", "RoleBinding")}
    rules = [
        rule
        for role in of_kind(found, "ClusterRole", "Role")
        if role["metadata"]["name"] in bound
        for rule in role["rules"]
    ]
    granted = {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}

    assert rules
    assert not {resource for resource, _ in granted} & {"*", "secrets", "pods/exec", "roles", "clusterroles"}
    assert not {verb for _, verb in granted} & {"*", "escalate", "bind", "impersonate"}
    assert {resource for resource, verb in granted if verb == "update"} == {"leases"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("mtp-operator", "team-a"), ("mtp-operator", "team-b")),
        (("one", "mtp-system"), ("other", "mtp-system")),
        (("b-c", "a"), ("c", "a-b")),
    ],
)
def test_releases_side_by_side_share_nothing(one: tuple[str, str], other: tuple[str, str]) -> None:
    values = {"watchNamespaces": ["shared"], "crds": {"enabled": False}} | ALL_MONITORING
    found = [template(values, release=release, namespace=namespace) for release, namespace in (one, other)]

    assert names(found[0]) & names(found[1]) == set()
    leases = [
        (
            one["metadata"]["namespace"],
            *(rule["resourceNames"][0] for rule in one["rules"] if "resourceNames" in rule),
        )
        for release in found
        for one in of_kind(release, "Role")
        if one["metadata"]["name"].endswith("-lease")
    ]
    assert len(set(leases)) == 2
    assert [environment(release)["MTP_OPERATOR_LEASE_NAME"] for release in found] == [lease for _, lease in leases]


@pytest.mark.parametrize(
    ("role", "aggregated_to", "may"),
    [
        ("view", {"view", "edit", "admin"}, {"get", "list", "watch"}),
        ("edit", {"edit", "admin"}, {"create", "update", "patch", "delete", "deletecollection"}),
        ("admin", {"admin"}, {"delete", "deletecollection"}),
    ],
)
def test_kubernetes_own_roles_gain_the_kinds(role: str, aggregated_to: set[str], may: set[str]) -> None:
    (found,) = (one for one in of_kind(template(), "ClusterRole") if one["metadata"]["name"].endswith(f"-{role}"))
    labels = found["metadata"]["labels"]

    assert {name.rpartition("-")[2] for name in labels if "/aggregate-to-" in name} == aggregated_to
    assert {verb for rule in found["rules"] for verb in rule["verbs"]} == may
    assert {group for rule in found["rules"] for group in rule["apiGroups"]} == {GROUP}


@pytest.mark.parametrize(
    ("values", "strategy", "budget"),
    [
        ({}, {"type": "Recreate"}, False),
        (
            {"replicas": 2},
            {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            True,
        ),
        (
            {"replicas": 3, "podDisruptionBudget": {"enabled": False}},
            {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            False,
        ),
    ],
)
def test_stand_bys_outlast_drains_and_updates(values: dict[str, Any], strategy: Any, budget: bool) -> None:
    found = template(values)
    budgets = of_kind(found, "PodDisruptionBudget")

    assert deployment(found)["spec"]["strategy"] == strategy
    assert bool(budgets) == budget
    for one in budgets:
        assert one["spec"]["selector"] == deployment(found)["spec"]["selector"]


def test_replicas_are_spread() -> None:
    constraint = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    found = template({"topologySpreadConstraints": [constraint, constraint | {"labelSelector": {"matchLabels": {}}}]})

    own, stated = pod(found)["topologySpreadConstraints"]

    assert own["labelSelector"] == deployment(found)["spec"]["selector"]
    assert stated["labelSelector"] == {"matchLabels": {}}


@pytest.mark.parametrize("values", [{}, {"replicas": 2, "podLabels": {"a": "b"}, "extraLabels": {"team": "llm"}}])
def test_selectors_select_the_operators_pods(values: dict[str, Any]) -> None:
    found = template(values | ALL_MONITORING)
    labels = deployment(found)["spec"]["template"]["metadata"]["labels"]
    selectors = [deployment(found)["spec"]["selector"]["matchLabels"]]
    selectors += [one["spec"]["selector"]["matchLabels"] for one in of_kind(found, "PodDisruptionBudget")]
    selectors += [
        one["spec"]["selector"]["matchLabels"]
        for one in of_kind(found, "PodMonitor")
        if not one["metadata"]["name"].endswith("-servers")
    ]

    assert len(selectors) >= 2
    assert all(selector.items() <= labels.items() for selector in selectors)


def test_extra_labels_are_on_every_object() -> None:
    found = template({"extraLabels": {"team": "llm"}, "replicas": 2, "watchNamespaces": ["a"]} | ALL_MONITORING)

    assert [one for one in found if one["metadata"]["labels"].get("team") != "llm"] == []
    assert deployment(found)["spec"]["template"]["metadata"]["labels"]["team"] == "llm"
    assert "team" not in deployment(found)["spec"]["selector"]["matchLabels"]


@pytest.mark.parametrize(
    ("values", "context"),
    [
        (
            {},
            {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        ),
        (
            {"podSecurityContext": {"runAsUser": None, "runAsGroup": None}},
            {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        ),
    ],
)
def test_openshift_may_give_user_ids_of_its_own(values: dict[str, Any], context: dict[str, Any]) -> None:
    assert pod(template(values))["securityContext"] == context


@pytest.mark.parametrize(
    ("values", "account", "is_made"),
    [
        ({}, "mtp-operator", True),
        ({"serviceAccount": {"name": "own"}}, "own", True),
        ({"serviceAccount": {"create": False, "name": "own"}}, "own", False),
    ],
)
def test_the_service_account_is_the_one_that_is_bound(values: dict[str, Any], account: str, is_made: bool) -> None:
    found = template(values)
    subjects = [one["subjects"] for one in of_kind(found, "ClusterRoleBinding", "RoleBinding")]

    assert {one["metadata"]["name"] for one in of_kind(found, "ServiceAccount")} == ({account} if is_made else set())
    assert pod(found)["serviceAccountName"] == account
    assert subjects
    assert all(one == [{"kind": "ServiceAccount", "name": account, "namespace": "mtp-system"}] for one in subjects)


def test_monitoring_is_off_where_nobody_asks_for_it() -> None:
    assert of_kind(template(), "PodMonitor", "PrometheusRule", "ConfigMap") == []


@pytest.mark.parametrize(
    ("watched", "selector"), [([], {"any": True}), (["team-a", "team-b"], {"matchNames": ["team-a", "team-b"]})]
)
def test_operator_and_servers_are_scraped(watched: list[str], selector: dict[str, Any]) -> None:
    found = template({"watchNamespaces": watched} | ALL_MONITORING)
    monitors = {one["metadata"]["name"]: one["spec"] for one in of_kind(found, "PodMonitor")}
    ports = {port["name"] for port in pod(found)["containers"][0]["ports"]}

    assert monitors["mtp-operator"]["podMetricsEndpoints"][0]["port"] in ports
    assert monitors["mtp-operator-servers"]["namespaceSelector"] == selector


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.yaml")), ids=lambda file: file.stem)
def test_examples_are_accepted(example: Any) -> None:
    assert template(yaml.safe_load(example.read_text()))
