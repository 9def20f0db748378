import pytest

from mtp_operator.api.spec import EngineType
from mtp_operator.runtime.installation import SettingsError, load_settings

IMAGES = {
    "MTP_OPERATOR_ENGINE_IMAGE_VLLM": "vllm:1",
    "MTP_OPERATOR_ENGINE_IMAGE_LLAMA_CPP": "llamacpp:1",
    "MTP_OPERATOR_BENCH_IMAGE": "operator:1",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in IMAGES.items():
        monkeypatch.setenv(name, value)


def test_what_decisions_depend_on_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTP_OPERATOR_NODES_READABLE", "false")
    monkeypatch.setenv("MTP_OPERATOR_PENDING_SECONDS", "77")

    settings = load_settings().for_decisions()

    assert settings.engine_images == {EngineType.VLLM: "vllm:1", EngineType.LLAMA_CPP: "llamacpp:1"}
    assert (settings.bench_image, settings.nodes_readable, settings.pending_seconds) == ("operator:1", False, 77)


def test_only_the_installation_says_which_hub_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().for_decisions().fetch_environment == {}

    monkeypatch.setenv("MTP_OPERATOR_HUB_ENDPOINT", "https://mirror.example/hub")
    monkeypatch.setenv("MTP_OPERATOR_FETCH_HTTPS_PROXY", "http://proxy.example:3128")

    assert load_settings().for_decisions().fetch_environment == {
        "HF_ENDPOINT": "https://mirror.example/hub",
        "HTTPS_PROXY": "http://proxy.example:3128",
    }


def test_the_installations_template_reaches_decisions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTP_OPERATOR_TEMPLATE", '{"runtimeClassName": "nvidia", "tolerations": [{"key": "sku"}]}')

    template = load_settings().for_decisions().template

    assert template.runtime_class_name == "nvidia"
    assert [one.key for one in template.tolerations] == ["sku"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ('{"runtimeClass": "nvidia"}', "runtimeClass"),
        ('{"labels": {"mtp-operator.dev/model": "mine"}}', ".labels"),
        ('{"sharedMemory": "lots"}', ".sharedMemory: Invalid value: must be a size"),
        ('{"tolerations": [{"key": "sku", "operator": "Like"}]}', ".tolerations[0].operator"),
        ("[]", "MTP_OPERATOR_TEMPLATE"),
    ],
)
def test_what_no_model_could_state_is_no_default(monkeypatch: pytest.MonkeyPatch, given: str, said: str) -> None:
    monkeypatch.setenv("MTP_OPERATOR_TEMPLATE", given)

    with pytest.raises(SettingsError, match=r"^MTP_OPERATOR_TEMPLATE=") as refused:
        load_settings()

    assert said in str(refused.value)


@pytest.mark.parametrize(("given", "namespaces"), [("", ()), ("llm", ("llm",)), ("llm, lab,llm,", ("llm", "lab"))])
def test_namespaces_are_a_list_with_commas(
    monkeypatch: pytest.MonkeyPatch, given: str, namespaces: tuple[str, ...]
) -> None:
    monkeypatch.setenv("MTP_OPERATOR_NAMESPACES", given)

    assert load_settings().namespaces == namespaces


def test_each_process_has_its_own_identity() -> None:
    assert load_settings().identity != load_settings().identity


def test_a_hung_request_leaves_time_for_another_and_a_write_ends_before_a_takeover() -> None:
    settings = load_settings()

    assert settings.lease_request_timeout_seconds <= settings.lease_renew_deadline_seconds / 2
    assert settings.lease_renew_deadline_seconds + settings.request_timeout_seconds <= settings.lease_duration_seconds


def test_an_admission_webhook_may_take_the_longest_that_kubernetes_lets_it() -> None:
    assert load_settings().request_timeout_seconds > 30


def test_the_installation_says_who_may_ask_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTP_OPERATOR_SERVER_CLIENTS", '[{"podSelector": {"matchLabels": {"app": "gateway"}}}]')

    (peer,) = load_settings().for_decisions().server_clients

    assert peer == {"podSelector": {"matchLabels": {"app": "gateway"}}}


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("MTP_OPERATOR_WORKERS", "0", "greater than or equal to 1"),
        ("MTP_OPERATOR_WORKERS", "many", "valid integer"),
        ("MTP_OPERATOR_NAMESPACES", "llm,Lab", "'Lab' must be the name of a namespace"),
        ("MTP_OPERATOR_LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("MTP_OPERATOR_BENCH_IMAGE", "an image", "pattern"),
        ("MTP_OPERATOR_HUB_ENDPOINT", "mirror.example", "pattern"),
    ],
)
def test_a_bad_value_is_named_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, complaint: str
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsError) as caught:
        load_settings()

    assert str(caught.value).startswith(f"{variable}={value!r}: ")
    assert complaint in str(caught.value)


def test_every_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in IMAGES:
        monkeypatch.delenv(name)

    with pytest.raises(SettingsError) as caught:
        load_settings()

    assert str(caught.value).splitlines() == [f"{name} is missing" for name in IMAGES]


def test_a_holder_that_gives_up_too_late_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTP_OPERATOR_LEASE_RENEW_DEADLINE_SECONDS", "50")

    with pytest.raises(SettingsError, match="lease_retry_seconds < lease_renew_deadline_seconds"):
        load_settings()


@pytest.mark.parametrize(
    ("address", "host"), [("", None), ("10.0.0.7", None), ("fd00:10:244::7", "::"), ("2001:db8::7", "::")]
)
def test_where_pods_have_ipv6_addresses_servers_listen_at_them(
    monkeypatch: pytest.MonkeyPatch, address: str, host: str | None
) -> None:
    monkeypatch.setenv("MTP_OPERATOR_POD_IP", address)

    assert load_settings().for_decisions().server_host == host
