"""`mtp bench`: what a trial's bench container does, by hand, against any OpenAI-compatible server."""

import asyncio
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mtp_operator.api.base import MAX_LEVELS, MAX_N_SPEC

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from mtp_operator.api.spec import Workload
    from mtp_operator.api.trial_documents import TrialResult
    from mtp_operator.bench.load import LevelRun
    from mtp_operator.bench.prompts import PromptMix
    from mtp_operator.bench.request_list import Drain, ListResult, ListRun

FAILED: Final = 1
"""Exit status where nothing could be measured, or a gate speaks against it."""

REFUSED: Final = 2
"""Exit status where the arguments cannot be used."""

SEED: Final = 0


class Output(StrEnum):
    """How a measurement is reported."""

    TABLE = "table"
    JSON = "json"


class Draining(StrEnum):
    """Which time counts for a list of requests."""

    INCLUDE = "include"
    EXCLUDE = "exclude"


class RefusedError(Exception):
    """The arguments cannot be used; the message names the option and what is wrong."""


class MeasuringError(Exception):
    """The server cannot be measured; the message says why."""


def register(app: typer.Typer) -> None:
    """Add the command to the `mtp` command."""
    app.command("bench")(bench)


def bench(
    url: Annotated[str, typer.Option(help="The server's address, without a path.", metavar="http://HOST:PORT")],
    model: Annotated[str | None, typer.Option(help="The model's name there. Default: the first it serves.")] = None,
    workload: Annotated[
        Path | None,
        typer.Option(
            help="A YAML file: an MTPModel, or its spec.tuning.workload. Default: the API's default workload."
        ),
    ] = None,
    prompts: Annotated[Path | None, typer.Option(help="Own prompts as JSONL, in place of the workload's.")] = None,
    concurrency: Annotated[
        list[int] | None, typer.Option(min=1, help="In place of the workload's levels; can be repeated.")
    ] = None,
    output_tokens: Annotated[
        int | None, typer.Option(min=1, help="Most tokens of an answer, in place of the workload's.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=1, help="Time for a level; most need less, slow servers get more.")
    ] = 120,
    n_spec: Annotated[
        int | None,
        typer.Option(
            min=0, max=MAX_N_SPEC, help="n_spec that the server runs with; enables the checks of speculation."
        ),
    ] = None,
    requests: Annotated[
        Path | None,
        typer.Option(help='Send this list once, in its order: JSONL of {"prompt": …, "output_tokens": …}.'),
    ] = None,
    drain: Annotated[
        Draining, typer.Option(help="Whether the end of a list counts, as it does in `vllm bench serve`.")
    ] = Draining.INCLUDE,
    output: Annotated[Output, typer.Option(help="A table to read, or JSON.")] = Output.TABLE,
) -> None:
    """Measure a server that is already running, as a trial does."""
    from mtp_operator.bench.prompts import PromptsUnusableError
    from mtp_operator.bench.request_list import Drain

    console = _console(to_standard_error=output is Output.JSON)
    try:
        requested = _workload(workload, concurrency, output_tokens)
        if requests is None:
            mix = _mix(requested, prompts)
            result = asyncio.run(_measured(url, model, requested, mix, seconds, n_spec, console))
            _report(result, output, console)
            if result.failure is not None:
                raise typer.Exit(FAILED)
        else:
            _refuse_beside_requests(prompts)
            results = asyncio.run(_sent(url, model, requested, requests, Drain(drain.value), console))
            _report_lists(results, output, console)
    except (RefusedError, PromptsUnusableError) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(REFUSED) from None
    except MeasuringError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(FAILED) from None


# -- what is asked -----------------------------------------------------------------------------------------------------


def _workload(path: Path | None, concurrencies: Sequence[int] | None, output_tokens: int | None) -> "Workload":
    from mtp_operator.api.spec import Level, Workload

    requested = Workload() if path is None else _read_workload(path)
    if not requested.levels:
        # Of a server that is there already nobody says what it decodes together.
        requested = requested.model_copy(update={"levels": (Level(concurrency=1),)})
    update: dict[str, Any] = {}
    if concurrencies:
        if len(concurrencies) > MAX_LEVELS or len(set(concurrencies)) < len(concurrencies):
            raise RefusedError(f"--concurrency: at most {MAX_LEVELS} are measured in one go, each once")
        update["levels"] = tuple(Level(concurrency=one) for one in concurrencies)
    if output_tokens is not None:
        update["output_tokens"] = output_tokens
    return requested.model_copy(update=update)


def _read_workload(path: Path) -> "Workload":
    import yaml
    from pydantic import ValidationError

    from mtp_operator.api.spec import Workload
    from mtp_operator.tuner.tuner_records import describe_error

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RefusedError(f"--workload: {path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise RefusedError(f"--workload: {path} is not valid YAML: {' '.join(str(error).split())}") from error
    if isinstance(document, dict) and document.get("kind") == "MTPModel":
        tuning = (document.get("spec") or {}).get("tuning") or {}
        document = tuning.get("workload") or {}
    if not isinstance(document, dict):
        raise RefusedError(f"--workload: {path} is neither an MTPModel nor a workload: an object is expected")
    known = {field.alias or name for name, field in Workload.model_fields.items()}
    unknown = sorted(set(document) - known)
    if unknown:
        raise RefusedError(f"--workload: {path}: {unknown[0]} is not a field; allowed are {', '.join(sorted(known))}")
    try:
        return Workload.model_validate(document)
    except ValidationError as error:
        raise RefusedError(f"--workload: {path}: {describe_error(error)}") from error


def _mix(requested: "Workload", prompts: Path | None) -> "PromptMix":
    from mtp_operator.bench.prompts import built_in_mix, read_mix

    if prompts is not None:
        return read_mix(prompts, "--prompts", SEED)
    categories = requested.prompt_source.built_in
    if categories is None:
        raise RefusedError("--workload: its prompts are in the cluster; name the file with --prompts")
    return built_in_mix(categories, SEED)


def _refuse_beside_requests(prompts: Path | None) -> None:
    if prompts is not None:
        raise RefusedError("--prompts: cannot be given together with --requests, which has prompts of its own")


# -- measuring ---------------------------------------------------------------------------------------------------------


async def _measured(
    url: str,
    model: str | None,
    requested: "Workload",
    mix: "PromptMix",
    seconds: float,
    n_spec: int | None,
    console: "Console",
) -> "TrialResult":
    from mtp_operator.bench.engine_client import EngineClient, MetricsError, open_session
    from mtp_operator.bench.load import EngineGoneError, EngineHungError, Level, TooSlowError
    from mtp_operator.bench.measure import Findings, measure
    from mtp_operator.bench.readiness import NotReadyError
    from mtp_operator.bench.report import result_by_hand

    levels = [
        Level(level.concurrency, requested.output_tokens, seconds, mix.level(index), mix.pass_length(level.concurrency))
        for index, level in enumerate(requested.levels)
    ]
    findings = Findings()
    async with open_session(_address(url)) as session:
        server = await _server(session, url, model)
        console.print(f"{server.name} at {url}, model {server.model}, {requested.output_tokens} output tokens")
        client = EngineClient(session, server.dialect, server.model, requested.sampling)
        with _progress(console) as progress:
            task = progress.add_task("a first completion")
            try:
                await measure(
                    client, mix.probe, levels, seconds, findings, lambda run: _show(progress, task, run, seconds)
                )
            except (NotReadyError, EngineGoneError, EngineHungError, TooSlowError, MetricsError) as error:
                raise MeasuringError(str(error)) from error
    return result_by_hand(n_spec, findings.runs, mix.sha256)


async def _sent(
    url: str, model: str | None, requested: "Workload", path: Path, drain: "Drain", console: "Console"
) -> list["ListResult"]:
    from mtp_operator.bench.engine_client import EngineClient, MetricsError, open_session
    from mtp_operator.bench.load import EngineGoneError
    from mtp_operator.bench.request_list import read_requests, send_list

    requests = read_requests(path, "--requests", requested.output_tokens)
    results = []
    async with open_session(_address(url)) as session:
        server = await _server(session, url, model)
        client = EngineClient(session, server.dialect, server.model, requested.sampling)
        with _progress(console) as progress:
            for level in requested.levels:
                task = progress.add_task(f"concurrency {level.concurrency}", total=len(requests))

                def show(run: "ListRun", task: Any = task) -> None:
                    progress.update(task, completed=len(run.answers) + len(run.failures))

                try:
                    run = await send_list(client, requests, level.concurrency, drain, show)
                except (EngineGoneError, MetricsError) as error:
                    raise MeasuringError(str(error)) from error
                if not run.answers:
                    raise MeasuringError(f"all {len(requests)} requests failed; the first: {run.failures[0]}")
                results.append(run.result())
    return results


async def _server(session: Any, url: str, model: str | None) -> Any:
    from mtp_operator.bench.running_server import UnusableServerError, look_at

    try:
        return await look_at(session, url, model)
    except UnusableServerError as error:
        raise RefusedError(str(error)) from error


def _address(url: str) -> str:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise RefusedError(f"--url: {url} is not a server address: http://HOST:PORT is expected, without a path")
    return url.rstrip("/")


def _show(progress: "Progress", task: Any, run: "LevelRun", seconds: float) -> None:
    speed = f"{run.windows[-1]:.1f} tok/s" if run.windows else "warming up"
    progress.update(
        task,
        description=f"concurrency {run.concurrency}: {len(run.windows)} passes count, {speed}",
        total=seconds,
        completed=min(seconds, sum(one.seconds for one in run.passes)),
    )


# -- reporting ---------------------------------------------------------------------------------------------------------


def _report(result: "TrialResult", output: Output, console: "Console") -> None:
    import json

    if output is Output.JSON:
        print(json.dumps(result.to_wire(), indent=2))
        return
    from .bench_view import levels_table

    console.print(levels_table(result.levels))
    console.print("Latencies are of the requests after the warm-up.")
    for warning in result.warnings:
        console.print(f"{warning.reason}: {warning.message}")
    for verdict in (result.doubt, result.failure):
        if verdict is not None:
            console.print(f"{verdict.reason}: {verdict.message}")


def _report_lists(results: Sequence["ListResult"], output: Output, console: "Console") -> None:
    import json

    from mtp_operator.api.trial_documents import SIMULATED

    if output is Output.JSON:
        print(json.dumps([one.to_wire() for one in results], indent=2))
        return
    from .bench_view import lists_table

    console.print(lists_table(results))
    if results and results[0].simulated_curve is not None:
        console.print(f"{SIMULATED}: no GPU was measured: the figures are of the curve {results[0].simulated_curve}")


def _console(*, to_standard_error: bool) -> "Console":
    """Standard output; a file or a pipe is wide enough for every table."""
    from rich.console import Console

    from .tables import FILE_WIDTH

    stream = sys.stderr if to_standard_error else sys.stdout
    return Console(stderr=to_standard_error, width=None if stream.isatty() else FILE_WIDTH, highlight=False)


def _progress(console: "Console") -> "Progress":
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
