"""What the chart makes of its values, by helm itself where it has been built."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from mtp_operator.resources.network_policy import DEFAULT_CLIENTS
from tests.cluster import paths

CHART = Path(__file__).parents[3] / "charts" / "mtp-operator"


def helm() -> Path:
    found = sorted(paths.bin_dir().glob("helm-*/helm"))
    if not found:
        pytest.skip("helm has not been built: make cluster-up builds it")
    return found[-1]


def template(*settings: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Kind and name -> object."""
    arguments = [str(helm()), "template", "mtp", str(CHART), "--namespace", "ops"]
    for setting in settings:
        arguments += ["--set-json", setting]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=60)
    objects = [one for one in yaml.safe_load_all(done.stdout) if one]
    return {(one["kind"], one["metadata"]["name"]): one for one in objects}


def test_no_admission_policy_by_default_and_only_metrics_come_in() -> None:
    objects = template()

    assert not [kind for kind, _ in objects if "Admission" in kind]
    policy = objects["NetworkPolicy", "mtp"]["spec"]
    assert policy["policyTypes"] == ["Ingress"]
    assert policy["ingress"] == [
        {"ports": [{"port": "metrics", "protocol": "TCP"}], "from": [{"namespaceSelector": {}}]}
    ]
    assert policy["podSelector"]["matchLabels"].items() <= (
        objects["Deployment", "mtp"]["spec"]["template"]["metadata"]["labels"].items()
    )


def test_the_charts_clients_are_the_operators_own_default() -> None:
    (container,) = template()["Deployment", "mtp"]["spec"]["template"]["spec"]["containers"]
    environment = {one["name"]: one.get("value") for one in container["env"]}

    assert yaml.safe_load(environment["MTP_OPERATOR_SERVER_CLIENTS"]) == list(DEFAULT_CLIENTS)


def test_the_operator_may_read_no_secret_and_run_nothing_in_a_pod() -> None:
    roles = [one for (kind, _), one in template().items() if kind in ("Role", "ClusterRole")]
    rules = [rule for role in roles for rule in role["rules"]]

    granted = {resource for rule in rules for resource in rule["resources"]}
    assert granted.isdisjoint({"secrets", "pods/exec", "pods/log", "roles", "rolebindings", "serviceaccounts/token"})
    assert [rule["verbs"] for rule in rules if rule["resources"] == ["pods"]] == [["list", "watch"]]
    assert "*" not in {one for rule in rules for one in [*rule["verbs"], *rule["resources"], *rule["apiGroups"]]}


POLICY = 'admissionPolicy={"enabled":true,"registries":["ghcr.io/team"],"requireDigests":true,'
POLICY += '"hubOrganizations":["google"],"claims":["weights"],"tokenSecrets":["hf-token"]}'


def test_an_admission_policy_says_what_models_may_name() -> None:
    objects = template(POLICY)
    policy = objects["ValidatingAdmissionPolicy", "ops.mtp-models"]["spec"]

    assert policy["failurePolicy"] == "Fail"
    (rule,) = policy["matchConstraints"]["resourceRules"]
    assert (rule["resources"], rule["operations"]) == (["mtpmodels"], ["CREATE", "UPDATE"])
    expressions = " ".join(one["expression"] for one in policy["validations"])
    for allowed in ('["ghcr.io/team"]', '["google"]', '["weights"]', '["hf-token"]', "@sha256:", "trustRemoteCode"):
        assert allowed in expressions
    assert {one["name"] for one in policy["variables"]} == {"uris", "images", "claims", "organizations", "tokens"}
    bound = [one["spec"]["policyName"] for (kind, _), one in objects.items() if kind.endswith("PolicyBinding")]
    assert sorted(bound) == ["ops.mtp-evidence", "ops.mtp-models"]


def test_an_empty_list_restricts_nothing() -> None:
    policy = template('admissionPolicy={"enabled":true}')["ValidatingAdmissionPolicy", "ops.mtp-models"]["spec"]

    assert len(policy["validations"]) == 1
    assert "trustRemoteCode" in policy["validations"][0]["expression"]


def test_only_the_operator_may_write_evidence_under_an_admission_policy() -> None:
    policy = template(POLICY)["ValidatingAdmissionPolicy", "ops.mtp-evidence"]["spec"]

    (rule,) = policy["matchConstraints"]["resourceRules"]
    assert rule["resources"] == ["mtptuningruns", "mtptuningruns/status", "mtpmodels/status"]
    (validation,) = policy["validations"]
    assert validation["expression"].startswith("request.userInfo.username == 'system:serviceaccount:ops:mtp' ||")
