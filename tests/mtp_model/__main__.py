"""`python -m tests.mtp_model OUT_DIR`: write a model with known acceptance."""

from pathlib import Path
from typing import Annotated

import typer

from tests.mtp_model.folder import DEFAULT_ACCEPTANCE, DEFAULT_WORD_COUNT, write_model
from tests.mtp_model.weights import ModelShape


def main(
    out_dir: Annotated[Path, typer.Argument(help="The folder to make; it must not exist yet.")],
    acceptance: Annotated[
        str, typer.Option(help="Share of drafts whose first, second, … token is accepted; zero beyond the last.")
    ] = ",".join(map(str, DEFAULT_ACCEPTANCE)),
    layers: Annotated[int, typer.Option(help="Layers of the target: what a step costs.")] = ModelShape.layers,
    hidden_size: Annotated[int, typer.Option(help="Size of the hidden state.")] = ModelShape.hidden_size,
    intermediate_size: Annotated[int, typer.Option(help="Size inside the MLPs.")] = ModelShape.intermediate_size,
    words: Annotated[int, typer.Option(help="Words in the cycle of the greedy text.")] = DEFAULT_WORD_COUNT,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
) -> None:
    """Write a language model whose MTP head has a known acceptance, for vLLM and for llama.cpp."""
    try:
        shape = ModelShape(layers=layers, hidden_size=hidden_size, intermediate_size=intermediate_size)
        shares = [float(share) for share in acceptance.split(",")]
        truth = write_model(out_dir, shares, shape, words, seed)
    except (ValueError, FileExistsError) as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(f"{out_dir}: acceptance per position {', '.join(f'{p:.3f}' for p in truth.acceptance_per_position)}")


if __name__ == "__main__":
    typer.run(main)
