"""The telling lines of real logs: each file is what an engine wrote, with long lines cut."""

from pathlib import Path

import pytest

from mtp_operator.engines import root_cause_lines

LOGS = Path(__file__).parent / "logs"


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        (
            "llamacpp-no-model",
            "gguf_init_from_file: failed to open GGUF file '/models/weights/model.gguf' (No such file",
        ),
        ("llamacpp-cut-model", "llama_model_load: error loading model: tensor 'token_embd.weight' data is not within"),
        ("vllm-dies-at-first-request", "TypeError: 'function' object is not subscriptable"),
        (
            "vllm-unknown-architecture",
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig: Value error, "
            "Model architectures ['NoSuchForCausalLM'] are not supported",
        ),
    ],
)
def test_the_cause_comes_first(log: str, cause: str) -> None:
    lines = root_cause_lines((LOGS / f"{log}.log").read_text())

    assert lines.startswith(cause)


def test_the_end_follows() -> None:
    lines = root_cause_lines((LOGS / "llamacpp-cut-model.log").read_text())

    assert lines.endswith("; srv  llama_server: exiting due to model loading error")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", ""),
        ("0.00.002.821 I srv  llama_server: initializing ...\n0.00.029.638 W srv  security: no API key, 1 error\n", ""),
        ("WARNING 11-23 23:18:14 [vllm.utils:255] This can cause fd limit errors like OSError: too many files\n", ""),
        ("error: invalid argument: --foo\n", "error: invalid argument: --foo"),
        ("\x1b[31mRuntimeError: no kernel image\x1b[0m\n", "RuntimeError: no kernel image"),
        (
            "(EngineCore pid=7) ERROR 11-23 23:18:14 [core.py:12] Traceback (most recent call last):\n"
            '(EngineCore pid=7) ERROR 11-23 23:18:14 [core.py:12]   File "a.py", line 1, in f\n'
            "(EngineCore pid=7) ERROR 11-23 23:18:14 [core.py:12] torch.OutOfMemoryError: CUDA out of memory.\n"
            "RuntimeError: Engine core initialization failed. See root cause above.\n",
            "torch.OutOfMemoryError: CUDA out of memory.; "
            "RuntimeError: Engine core initialization failed. See root cause above.",
        ),
        ("ggml/src/ggml.c:12: GGML_ASSERT(buffer) failed\n", "ggml/src/ggml.c:12: GGML_ASSERT(buffer) failed"),
    ],
)
def test_lines(text: str, lines: str) -> None:
    assert root_cause_lines(text) == lines


@pytest.mark.parametrize("limit", [20, 100, 400])
def test_no_longer_than_asked(limit: int) -> None:
    for log in LOGS.iterdir():
        assert 0 < len(root_cause_lines(log.read_text(), limit)) <= limit
