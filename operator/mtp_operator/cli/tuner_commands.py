"""The tuner from outside: one step for a judge, and its loop on recorded curves."""

import os
import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from mtp_operator.tuner.replay import Curve, Noise, Run, Summary

FAILED = 1
"""Exit status if some input could not be used."""
MAX_REPEATS = 10_000


class Output(StrEnum):
    """How a replay reports."""

    TABLE = "table"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Add the commands to the `mtp` command."""
    app.command("tuner-step")(tuner_step)
    app.command("replay")(replay)


def tuner_step() -> None:
    """Read one JSON document a line from standard input: settings and trials. Print the next trial or the verdict."""
    _one_thread()
    from mtp_operator.tuner.answer import answer

    refused = False
    for line in sys.stdin:
        if line.strip():
            text, is_answered = answer(line)
            refused = refused or not is_answered
            print(text, flush=True)
    if refused:
        raise typer.Exit(FAILED)


def replay(
    curves: Annotated[Path, typer.Argument(metavar="CURVES.csv", help="Recorded curves.", show_default=False)],
    trial_noise: Annotated[float, typer.Option(min=0, max=1, help="Run-to-run noise, as a share.")] = 0.002,
    pass_noise: Annotated[
        float, typer.Option(min=0, max=0.3, help="Noise between the passes of a trial, as a share.")
    ] = 0.01,
    repeats: Annotated[int, typer.Option(min=1, max=MAX_REPEATS, help="Runs per curve.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    max_trials: Annotated[int, typer.Option(min=1, help="Most trials of a run.")] = 12,
    output: Annotated[Output, typer.Option(help="A table to read, or JSON.")] = Output.TABLE,
    explain: Annotated[
        str | None, typer.Option(metavar="CURVE", help="Print each step on this curve, and why it was made.")
    ] = None,
) -> None:
    """Run the tuner on recorded curves, and compare its trials and its regret with those of simpler strategies."""
    _one_thread()
    from mtp_operator.tuner.replay import Noise, read_curves, runs_of, summarised, tune

    try:
        with curves.open(newline="", encoding="utf-8") as file:
            recorded = read_curves(file)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        _refuse(f"{curves}: {error}")
    noise = Noise(boot=trial_noise, run=pass_noise, seed=seed)
    if explain is not None:
        chosen = next((curve for curve in recorded if curve.name == explain), None)
        if chosen is None:
            _refuse(f"--explain: no curve {explain!r}; there are {', '.join(curve.name for curve in recorded)}")
        _print_explanation([tune(chosen, repeat, noise, max_trials) for repeat in range(repeats)])
        return
    runs = [tune(curve, repeat, noise, max_trials) for curve, repeat in runs_of(recorded, repeats)]
    summaries = {"tuner": summarised(runs)} | dict(_baselines(runs, noise))
    if output is Output.JSON:
        _print_json(recorded, runs, summaries)
    else:
        _print_tables(recorded, runs, summaries)


def _baselines(runs: list["Run"], noise: "Noise") -> Iterator[tuple[str, "Summary"]]:
    from mtp_operator.tuner.replay import fastest, fixed_list, summarised, sweep
    from mtp_operator.tuner.tpe import OptunaIsMissingError, tpe

    lists: dict[str, Callable[[Curve], tuple[int, ...]]] = {
        "everyValueOnce": sweep(1),
        "everyValueTwice": sweep(2),
        "fixedList": fixed_list,
    }
    for name, trace in lists.items():
        yield name, summarised([fastest(run.curve, run.repeat, noise, trace(run.curve)) for run in runs])
    try:
        yield "tpe", summarised([tpe(run.curve, run.repeat, noise, len(run.trace)) for run in runs])
    except OptunaIsMissingError as error:
        print(error, file=sys.stderr)


def _print_json(curves: tuple["Curve", ...], runs: list["Run"], summaries: dict[str, "Summary"]) -> None:
    import json

    document = {
        "curves": [
            {
                "curve": curve.name,
                "bestNSpec": curve.best,
                "repeats": [_run_document(run) for run in runs if run.curve is curve],
            }
            for curve in curves
        ],
        "total": summaries["tuner"].model_dump(by_alias=True),
        "baselines": {name: one.model_dump(by_alias=True) for name, one in summaries.items() if name != "tuner"},
    }
    print(json.dumps(document, indent=2))


def _run_document(run: "Run") -> dict[str, Any]:
    verdict = run.verdict
    return {
        "repeat": run.repeat,
        "nSpec": run.n_spec,
        "verdict": verdict.type.value if verdict else None,
        "message": verdict.message if verdict else None,
        "trace": list(run.trace),
        "regret": run.regret,
        "speedup": verdict.speedup.model_dump(by_alias=True) if verdict and verdict.speedup else None,
        "trueSpeedup": run.true_speedup,
    }


def _print_tables(curves: tuple["Curve", ...], runs: list["Run"], summaries: dict[str, "Summary"]) -> None:
    from .replay_view import curve_table, strategies_table

    console = _console()
    for curve in curves:
        console.print(curve_table(curve, runs))
    console.print(strategies_table(summaries))


def _print_explanation(runs: list["Run"]) -> None:
    from .replay_view import steps_table

    console = _console()
    for run in runs:
        console.print(steps_table(run))
        if run.verdict is not None:
            console.print(f"{run.verdict.type.value}: {run.verdict.message}")


def _console() -> "Console":
    """Standard output; a file or a pipe is wide enough for every table."""
    from rich.console import Console

    from .tables import FILE_WIDTH

    return Console(width=None if sys.stdout.isatty() else FILE_WIDTH)


def _one_thread() -> None:
    """The tuner's matrices are tiny: threads of the linear algebra library cost more than they bring."""
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(variable, "1")


def _refuse(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(FAILED)
