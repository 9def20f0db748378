"""All files of one model in one folder, whole or not at all."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.mtp_model.drafter_files import GGUF_ARCHITECTURES, write_drafter_folder, write_drafter_gguf
from tests.mtp_model.drafters import Drafter, build_drafter
from tests.mtp_model.huggingface import write_huggingface
from tests.mtp_model.llamacpp import write_gguf
from tests.mtp_model.truth import Truth, design_truth, write_truth
from tests.mtp_model.vocabulary import Vocabulary
from tests.mtp_model.weights import ModelShape, build_weights

DEFAULT_ACCEPTANCE = (0.97, 0.96)
"""Two good drafts and no third: n=2 is faster than n=1 and n=3 by more than the noise of a busy machine."""

DEFAULT_WORD_COUNT = 400


def write_model(
    folder: Path,
    acceptance_per_position: Sequence[float] = DEFAULT_ACCEPTANCE,
    shape: ModelShape | None = None,
    word_count: int = DEFAULT_WORD_COUNT,
    seed: int = 0,
    *,
    drafters: bool = False,
) -> Truth:
    """Write a model for vLLM and for llama.cpp, and `truth.json` beside it.

    The same arguments give the same bytes (with the same numpy: its generators may change between releases). The
    files are made in a folder beside the wanted one, which appears only when all of them are there.

    Args:
        folder: must not exist yet.
        acceptance_per_position: P_1, P_2, … of the MTP head; zero beyond them.
        shape: sizes of the network; the default is heavy enough for speculation to pay on a CPU.
        word_count: words in the cycle that the greedy text walks.
        seed: of everything random.
        drafters: whether drafters of each kind are written, too: KIND.gguf and a folder drafters/KIND.

    Raises:
        FileExistsError: the folder exists.
        ValueError: no such model can be made; the message names the argument.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} exists already; a model is written into a new folder")
    shape = shape or ModelShape()
    vocabulary = Vocabulary(word_count)
    truth = design_truth(vocabulary, acceptance_per_position, seed)
    weights = build_weights(truth, shape, seed)
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        write_huggingface(unfinished, vocabulary, shape, weights)
        write_gguf(unfinished / "model.gguf", vocabulary, shape, weights)
        write_truth(truth, unfinished / "truth.json")
        for drafter in Drafter if drafters else ():
            tensors = build_drafter(drafter, truth, shape, weights)
            write_drafter_folder(unfinished / "drafters" / drafter, drafter, vocabulary, shape, tensors)
            if drafter in GGUF_ARCHITECTURES:
                write_drafter_gguf(unfinished / f"{drafter}.gguf", drafter, vocabulary, shape, tensors)
        _make_readable(unfinished)
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished)
        raise
    return truth


def _make_readable(folder: Path) -> None:
    """Let every user read it, as engines do: mkdtemp and safetensors make private files."""
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
