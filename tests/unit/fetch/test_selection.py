"""Which files of a repository are fetched."""

from __future__ import annotations

import pytest

from mtp_operator.fetch.fetch_errors import FetchError
from mtp_operator.fetch.listing import RemoteFile
from mtp_operator.fetch.selection import select

GGUF = (
    "README.md",
    "Qwen-Q4_K_M.gguf",
    "Qwen-Q8_0.gguf",
    "BF16/Qwen-BF16-00001-of-00003.gguf",
    "BF16/Qwen-BF16-00002-of-00003.gguf",
    "BF16/Qwen-BF16-00003-of-00003.gguf",
    "F32/Qwen[1]-00001-of-00002.gguf",
)


def files(*paths: str) -> list[RemoteFile]:
    return [RemoteFile(path=path, size=1, sha256=None, git_sha1=None) for path in paths]


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("Qwen-Q8_0.gguf", ["Qwen-Q8_0.gguf"]),
        ("*Q8_0*.gguf", ["Qwen-Q8_0.gguf"]),
        ("BF16/*.gguf", [f"BF16/Qwen-BF16-0000{part}-of-00003.gguf" for part in (1, 2, 3)]),
        (
            "BF16/Qwen-BF16-00001-of-00003.gguf",
            [f"BF16/Qwen-BF16-0000{part}-of-00003.gguf" for part in (1, 2, 3)],
        ),
    ],
)
def test_a_gguf_is_one_file_or_all_its_parts(path: str, wanted: list[str]) -> None:
    chosen, entry = select(files(*reversed(GGUF)), path)

    assert [file.path for file in chosen] == wanted
    assert entry == wanted[0]


@pytest.mark.parametrize(
    ("path", "reason", "told"),
    [
        ("*Q6*.gguf", "FileNotFound", "it has BF16/Qwen-BF16-00001-of-00003.gguf"),
        ("*Q*_*.gguf", "FileAmbiguous", "Qwen-Q4_K_M.gguf, Qwen-Q8_0.gguf"),
        ("F32/*.gguf", "FileNotFound", "1 parts instead of 2"),
    ],
)
def test_what_cannot_be_meant_is_told(path: str, reason: str, told: str) -> None:
    with pytest.raises(FetchError, match=told) as failure:
        select(files(*GGUF), path)

    assert failure.value.reason == reason


def test_a_folder_of_safetensors_comes_without_other_formats() -> None:
    there = (
        "config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja", "sub/adapter.json",
        "model.gguf", "pytorch_model.bin", "onnx/model.onnx", "original/params.json", ".gitattributes", "rust_model.ot",
    )  # fmt: skip
    chosen, entry = select(files(*there), "")

    assert {file.path for file in chosen} == set(there[:5])
    assert entry == ""
