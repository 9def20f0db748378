"""`mtp init`: what people start engines with becomes an MTPModel that is in order, and nothing is lost on the way."""

from __future__ import annotations

import itertools
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from mtp_operator.cli.main import app
from mtp_operator.cli.render import Installation, models_in, rendered_objects
from mtp_operator.cli.validate import judged
from mtp_operator.convert.document import converted, to_yaml
from mtp_operator.convert.sources import deployed_in

HERE = Path(__file__).parent
LINES = (HERE / "real_command_lines.txt").read_text(encoding="utf-8").splitlines()
SERVICES = (HERE / "real_services.yaml").read_text(encoding="utf-8")


def run(*arguments: str, text: str = "") -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["init", *arguments], input=text)
    return result.exit_code, result.stdout, result.stderr


def made(text: str, service: str | None = None) -> tuple[dict[str, Any], list[str]]:
    """The document, which is in order, and what was left out."""
    document, draft = converted(deployed_in(text, service))
    (one,) = judged(to_yaml(document, draft), "-")
    assert one.problems == ()
    return one.manifest.content, draft.left_out


def engine(document: dict[str, Any]) -> list[str]:
    """What the engine of the last trial is started with."""
    (model,) = models_in(yaml.safe_dump(document), "-", "llm")
    job = [one for one in rendered_objects(model, Installation()) if one["kind"] == "Job"][-1]
    (container,) = (one for one in job["spec"]["template"]["spec"]["initContainers"] if one["name"] == "engine")
    return list(container["args"])


def settings_of(words: list[str]) -> dict[str, Any]:
    """Flags and values, whatever their spelling: dots, underscores, '=' and blanks, JSON, sizes."""
    found: dict[str, Any] = {}
    name = ""
    for word in words:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            name = name.split(".")[0].replace("_", "-") + "".join(f".{key}" for key in name.split(".")[1:])
            found[name] = value if equals else True
        elif name:
            found[name] = word if found[name] is True else f"{found[name]} {word}"
    flat: dict[str, Any] = {}
    for name, text in found.items():
        value = plain(text)
        flat |= {f"{name}.{key}": one for key, one in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def plain(text: Any) -> Any:
    if text is True:
        return True
    if text.endswith("k") and text[:-1].isdigit():
        return int(text[:-1]) * 1000
    try:
        # Numbers stand as text in some configurations.
        value = json.loads({"auto": "-1", "True": "true", "False": "false"}.get(text, text))
    except ValueError:
        return text
    return (
        {key: plain(one) if isinstance(one, str) else one for key, one in value.items()}
        if isinstance(value, dict)
        else value
    )


DECIDED = (
    *("--host", "--port", "--served-model-name", "--spec-draft-n-max", "--speculative-config.num_speculative_tokens"),
    *("--speculative-config.model", "--speculative-config.method"),
)


def lost(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What was said before and is not said after, but for what the operator decides: n, names, addresses."""
    return {name: value for name, value in before.items() if name not in DECIDED and after.get(name) != value}


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_real_command_lines_lose_nothing(line: str) -> None:
    if "--nnodes" in line:
        assert run("-f", "-", text=line) == (
            1,
            "",
            "--nnodes=2: an engine on several nodes cannot be expressed; see docs/limits.md\n",
        )
        return

    document, left_out = made(line)

    before = settings_of([word for one in shlex.split(line) for word in ([one] if "{" in one else one.split())])
    assert lost(before, settings_of(engine(document))) == {}
    assert [one for one in left_out if "is a variable of a shell" not in one] == []


@pytest.mark.parametrize(
    ("switches", "mode"),
    [
        ("--no-mmap", "none"),
        ("--mmap", "mmap"),
        ("-dio", "dio"),
        ("--mlock", "mlock"),
        ("--mlock --no-mmap", "mlock"),
        ("--no-mmap --mmap", "mmap"),
        ("-lm none", "none"),
    ],
)
def test_a_switch_that_llama_server_has_no_longer_becomes_a_load_mode(switches: str, mode: str) -> None:
    document, left_out = made(f"llama-server -m /models/m/m.gguf {switches} --threads 8")

    assert sorted(document["spec"]["engine"]["extraArgs"]) == [f"--load-mode={mode}", "--threads=8"]
    assert left_out == []


@pytest.mark.parametrize("service", yaml.safe_load(SERVICES)["services"])
def test_real_services_lose_nothing(service: str) -> None:
    document, left_out = made(SERVICES, service)

    stated = yaml.safe_load(SERVICES)["services"][service]
    words = " ".join(engine(document))
    assert document["metadata"]["name"] == service
    # What follows stands there only while a variable is set.
    command = list(itertools.takewhile(lambda word: ":+" not in word, stated["command"]))
    for flag, value in itertools.pairwise(command):
        if flag.startswith("--") and not value.startswith(("-", "$", "/")) and flag not in DECIDED:
            assert f"{flag} {value}" in words, left_out


FLAGS = st.fixed_dictionaries(
    {},
    optional={
        "--kv-cache-dtype": st.sampled_from(["fp8", "auto"]),
        "--max-num-seqs": st.integers(8, 512),
        "--max-model-len": st.sampled_from(["auto", "32k", "8192", "131072"]),
        "--tensor-parallel-size": st.sampled_from([1, 2, 4]),
        "--data-parallel-size": st.sampled_from([2, 4]),
        "--gpu-memory-utilization": st.integers(10, 99).map(lambda percent: percent / 100),
        "--enable-prefix-caching": st.just(None),
        "--enforce-eager": st.just(None),
        "--enable-expert-parallel": st.just(None),
        "--trust-remote-code": st.just(None),
        "--hf-overrides": st.dictionaries(st.sampled_from(["a", "b_c"]), st.integers(0, 9), min_size=1).map(json.dumps),
        "--block-size": st.sampled_from([16, 128]),
        "--kernel-config.moe_backend": st.sampled_from(["triton", "auto"]),
        "--attention_config.use_fp4_indexer_cache": st.sampled_from(["true", "false"]),
        "--limit-mm-per-prompt": st.just('{"image": 0}'),
        "--reasoning-parser": st.sampled_from(["qwen3", "deepseek_v4"]),
        "--chat-template": st.just("examples/a b.jinja"),
        "--speculative-config": st.fixed_dictionaries(
            {"method": st.sampled_from(["mtp", "eagle3", "ngram"]), "num_speculative_tokens": st.integers(1, 16)},
            optional={"moe_backend": st.just("triton"), "draft_tensor_parallel_size": st.just(1)},
        ).map(lambda one: json.dumps({**one, **({"model": "org/head"} if one["method"] == "eagle3" else {})})),
    },
)


@settings(max_examples=100, deadline=None)
@given(flags=FLAGS, equals=st.booleans(), model_first=st.booleans(), data=st.data())
def test_no_flag_is_lost(flags: dict[str, Any], *, equals: bool, model_first: bool, data: st.DataObject) -> None:
    words = []
    for name in data.draw(st.permutations(sorted(flags))):
        value = flags[name]
        words += [name] if value is None else [f"{name}={value}"] if equals else [name, str(value)]
    line = shlex.join(["vllm", "serve", *(["org/model", *words] if model_first else ["--model=org/model", *words])])

    document, left_out = made(line)

    assert left_out == []
    assert lost(settings_of(words), settings_of(engine(document))) == {}


def test_what_is_left_out_says_why_and_n_is_told() -> None:
    speculative = '{"method": "mtp", "num_speculative_tokens": 12}'
    line = f"HF_TOKEN=x vllm serve Qwen/Qwen3.6-27B --api-key abc --speculative-config '{speculative}'"

    code, output, errors = run("--file", "-", text=line)

    assert (code, errors) == (0, "")
    comment = " ".join(line[2:].strip() for line in output.splitlines() if line.startswith("#"))
    assert "--api-key=abc: locks the bench out: authenticate clients in front of the Service" in comment
    assert "HF_TOKEN: make a Secret of it and name it in spec.model.tokenSecretRef" in comment
    assert "n_spec was 12: it is compared with n_spec 0 first" in comment
    assert "x" not in yaml.safe_load(output)["spec"].get("engine", {}).get("env", [])
    assert yaml.safe_load(output)["spec"]["tuning"] == {"firstNSpec": 12, "maxNSpec": 12}


def test_a_command_line_may_be_given_as_it_is_typed() -> None:
    code, output, _ = run("vllm", "serve", "Qwen/Qwen3.6-27B", "-tp", "2", "--served-model-name", "a", "b")

    assert code == 0
    document = yaml.safe_load(output)
    assert document["metadata"]["name"] == "a"
    assert document["spec"]["model"] == {"uri": "hf://Qwen/Qwen3.6-27B", "servedName": "a", "aliases": ["b"]}
    assert document["spec"]["accelerator"] == {"count": 2, "architecture": "Any"}


def test_a_container_brings_image_variables_and_the_files_of_its_mounts() -> None:
    line = (
        "docker run --gpus 2 --rm --ipc=host -p 8000:8000 -v /srv/models:/models -e NCCL_DEBUG=INFO --name chat "
        "vllm/vllm-openai:v0.33.0 --model /models/qwen --chat-template /models/t.jinja"
    )

    document, left_out = made(line)

    assert document["metadata"]["name"] == "chat"
    assert document["spec"]["model"]["uri"] == "pvc://models/qwen"
    assert document["spec"]["engine"]["image"] == "vllm/vllm-openai:v0.33.0"
    assert document["spec"]["engine"]["env"] == [{"name": "NCCL_DEBUG", "value": "INFO"}]
    assert document["spec"]["engine"]["extraArgs"] == ["--chat-template=/etc/model-files/t.jinja"]
    assert document["spec"]["files"] == [{"name": "t.jinja", "pvc": {"claim": "models", "path": "t.jinja"}}]
    assert document["spec"]["accelerator"]["count"] == 2
    assert left_out == ["--ipc=host: the pod has /dev/shm of its own: spec.template.sharedMemory"]


def test_llama_server_with_its_short_flags() -> None:
    document, left_out = made(
        "llama-server -hf unsloth/Qwen3.6-27B-GGUF:Q8_0 -c 32768 -np 4 -ngl 99 -fa off -ctk q8_0 --jinja "
        "--spec-type draft-mtp,ngram-mod --spec-draft-n-max 3 --spec-draft-p-min 0.75 --port 9000"
    )

    assert document["spec"]["model"] == {"uri": "hf://unsloth/Qwen3.6-27B-GGUF/*Q8_0*.gguf"}
    assert document["spec"]["engine"]["llamaCpp"] == {
        "contextSize": 8192,
        "parallel": 4,
        "gpuLayers": 99,
        "flashAttention": "Disabled",
    }
    assert document["spec"]["engine"]["extraArgs"] == ["--cache-type-k=q8_0", "--jinja"]
    assert document["spec"]["speculation"] == {"llamaCpp": {"pMinMilli": 750}}
    assert document["spec"]["serving"] == {"port": 9000}
    assert left_out == [
        "--spec-type ngram-mod: one way of drafting is measured at a time; make a second MTPModel for it"
    ]


DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: chat}
spec:
  replicas: 2
  template:
    metadata: {labels: {app: chat, team: nlp}}
    spec:
      runtimeClassName: nvidia
      nodeSelector: {gpu: big}
      tolerations: [{key: gpu, operator: Exists, effect: NoSchedule}]
      containers:
        - name: server
          image: vllm/vllm-openai:v0.33.0
          args: [/data/qwen, --max-model-len=8192, --chat-template=/templates/t.jinja]
          env: [{name: A, value: b}, {name: HF_TOKEN, valueFrom: {secretKeyRef: {name: hf, key: token}}}]
          resources: {requests: {cpu: 4, memory: 32Gi}, limits: {nvidia.com/gpu: 2}}
          readinessProbe: {httpGet: {path: /health, port: 8000}}
          volumeMounts:
            - {name: data, mountPath: /data, subPath: weights}
            - {name: templates, mountPath: /templates}
            - {name: shm, mountPath: /dev/shm}
        - {name: exporter, image: exporter:1}
      volumes:
        - {name: data, persistentVolumeClaim: {claimName: models}}
        - {name: templates, configMap: {name: chat-templates}}
        - {name: shm, emptyDir: {medium: Memory, sizeLimit: 8Gi}}
"""


def test_a_deployment_brings_its_pod() -> None:
    document, left_out = made(DEPLOYMENT)

    spec = document["spec"]
    assert spec["model"] == {"uri": "pvc://models/weights/qwen"}
    assert spec["files"] == [{"name": "t.jinja", "configMap": {"name": "chat-templates", "key": "t.jinja"}}]
    assert spec["accelerator"] == {"count": 2, "architecture": "Any"}
    assert spec["serving"] == {"replicas": 2}
    assert spec["template"] == {
        "runtimeClassName": "nvidia",
        "nodeSelector": {"gpu": "big"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "labels": {"app": "chat", "team": "nlp"},
        "resources": {"requests": {"cpu": "4", "memory": "32Gi"}},
        "sharedMemory": "8Gi",
    }
    assert [one.partition(":")[0] for one in left_out] == ["container exporter", "readinessProbe", "HF_TOKEN"]


def test_an_inference_service_names_its_model_by_its_storage() -> None:
    document, _ = made("""
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: llama}
spec:
  predictor:
    minReplicas: 1
    model:
      modelFormat: {name: huggingface}
      storageUri: hf://meta-llama/Llama-3.1-8B-Instruct
      args: [--max-model-len=8192]
      resources: {limits: {nvidia.com/gpu: "1"}}
""")

    assert document["metadata"]["name"] == "llama"
    assert document["spec"]["model"] == {"uri": "hf://meta-llama/Llama-3.1-8B-Instruct"}
    assert document["spec"]["engine"] == {"type": "VLLM", "vllm": {"maxModelLen": 8192}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("trtllm-serve a/b", "starts none of `vllm serve`, `llama-server` and `sglang serve`"),
        ("vllm serve --tensor-parallel-size 2", "names no model"),
        ("vllm serve 'a", "the command line cannot be read"),
        ("kind: LeaderWorkerSet\napiVersion: leaderworkerset.x-k8s.io/v1", "spreads an engine over several nodes"),
        ("services: {web: {image: nginx}}", "web starts none of"),
        (SERVICES, "several services start an engine, name one with --service: server-0"),
    ],
)
def test_what_cannot_be_expressed_has_one_reason(text: str, reason: str) -> None:
    code, output, errors = run("-f", "-", text=text)

    assert (code, output) == (1, "")
    assert reason in errors
