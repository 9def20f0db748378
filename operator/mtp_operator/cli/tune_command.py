"""`mtp tune`: an MTPModel tuned on this machine, without a cluster."""

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

if TYPE_CHECKING:
    from mtp_operator.api.model import MTPModel
    from mtp_operator.api.run import MTPTuningRun, RunSettings
    from mtp_operator.local.folder import EvidenceFolder
    from mtp_operator.local.launch import Launch

    from .tune_source import TuneSource


FAILED: Final = 1
"""Exit status where nothing could be measured, or this machine cannot continue."""

REFUSED: Final = 2
"""Exit status where the arguments or the model cannot be used."""

INCONCLUSIVE: Final = 3
"""Exit status where no n_spec is proven to be faster within the budget."""

STOPPED: Final = 130
"""Exit status where the user stopped it, as shells have it for Ctrl-C."""

_STATUSES: Final = {"Selected": 0, "SpeculationOff": 0, "Inconclusive": INCONCLUSIVE}
"""Exit status by verdict; of all others it is `FAILED`."""


def register(app: typer.Typer) -> None:
    """Add the command to the `mtp` command."""
    app.command("tune")(tune)


def tune(
    model: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL.yaml | -- COMMAND...",
            help="The MTPModel, - is standard input; or `-- vllm serve …`, `-- llama-server …` as you run it.",
        ),
    ],
    name: Annotated[
        str | None, typer.Option(help="Name of the model: where the file has several, or of a command's.")
    ] = None,
    engine_command: Annotated[
        str | None,
        typer.Option(help="The engine's command, without a shell. Default: 'vllm serve' or 'llama-server' from PATH."),
    ] = None,
    docker: Annotated[
        bool, typer.Option("--docker", help="Run the model's image, spec.engine.image, with Docker.")
    ] = False,
    model_path: Annotated[
        Path | None,
        typer.Option(
            help="Folder or file of the model's weights. Needed unless a command names it or vLLM loads hf://."
        ),
    ] = None,
    drafter_path: Annotated[Path | None, typer.Option(help="The same for the drafter.")] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="The JSONL file with prompts, where the model names prompts of its own.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", help="Folder for the evidence. Default: mtp-tune-NAME.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in that folder.")] = False,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the engine on 127.0.0.1. Default: any free one.")
    ] = None,
    ready_seconds: Annotated[
        int | None, typer.Option(min=1, help="Seconds until the engine must answer. Default: 1800.")
    ] = None,
    level_seconds: Annotated[
        int | None, typer.Option(min=1, help="Seconds for each concurrency level of a trial. Default: 300.")
    ] = None,
) -> None:
    """Find n_spec for an MTPModel, or for an engine's command line, on this machine. No cluster is needed.

    The trials, gates, decisions and the verdict are those of the operator. Ctrl-C keeps what was measured; --resume
    continues. The GPU is the one that CUDA_VISIBLE_DEVICES names.

    Exit status: 0 an n_spec was selected, or no speculation is best; 3 inconclusive; 1 failed; 2 wrong usage;
    130 interrupted.
    """
    stop = _Stop()
    from mtp_operator.local.local_errors import BrokenError, RefusedError, StoppedError

    try:
        from .tune_source import read_source

        it = read_source(model, name, engine_command, model_path, drafter_path, docker=docker)
        settings, launch = _settings(it, prompts)
        folder = Path(to or f"mtp-tune-{it.model.metadata.name}")
        times = {"ready_seconds": ready_seconds, "level_seconds": level_seconds}
        stated: dict[str, Any] = {key: value for key, value in times.items() if value is not None}
        if it.said:
            print("\n".join(it.said), end="\n\n")
        run = _tuned(it.model, settings, launch, folder, stop, resume=resume, port=port, prompts=prompts, **stated)
    except RefusedError as error:
        _end(str(error), REFUSED)
    except BrokenError as error:
        _end(str(error), FAILED)
    except StoppedError:
        _end(f"interrupted: what was measured is kept in {folder}; add --resume to continue", STOPPED)
    raise typer.Exit(_STATUSES.get(run.status.verdict.type.value, FAILED) if run.status.verdict else FAILED)


def _settings(source: "TuneSource", prompts: Path | None) -> tuple["RunSettings", "Launch"]:
    """What is measured, and how the engine is started."""
    from importlib.metadata import version

    from mtp_operator.api.weights_source import FetchedSource
    from mtp_operator.engines import engine_for
    from mtp_operator.local.launch import launch
    from mtp_operator.local.local_errors import RefusedError
    from mtp_operator.resources.fetch_job import fetched_sources
    from mtp_operator.resources.tuning_run import run_settings

    from .render import UNKNOWN_COMMIT

    model = source.model
    sources = fetched_sources(model)
    if patterns := [one.uri for one in sources if "*" in one.uri]:
        raise RefusedError(
            f"{patterns[0]}: which file this names is not known on this machine; state the file itself: -m FILE on a "
            "command line, --model-path and a URI without * for a model"
        )
    fetched = [FetchedSource(uri=one.uri, revision=one.revision or UNKNOWN_COMMIT) for one in sources]
    settings = run_settings(model, "", f"mtp-operator {version('mtp-operator')}", fetched)
    started = launch(
        model.spec,
        command=source.engine_command,
        model_path=source.model_path,
        drafter_path=source.drafter_path,
        image=source.image,
    )
    engine = settings.engine.model_copy(update={"image": started.engine_id[:512]})
    settings = settings.model_copy(update={"engine": engine})
    if refusals := engine_for(engine.type).refusals(settings):
        raise RefusedError("; ".join(refusals))
    own = settings.workload.prompt_source
    if (own.config_map or own.pvc) and prompts is None:
        raise RefusedError(
            "spec.tuning.workload.prompts: the prompts are in a cluster; name a file on this machine with --prompts"
        )
    if prompts is not None and not prompts.is_file():
        raise RefusedError(f"--prompts: {prompts} does not exist, or is not a file")
    return settings, started


def _tuned(
    model: "MTPModel",
    settings: "RunSettings",
    launch: "Launch",
    path: Path,
    stop: "_Stop",
    *,
    resume: bool,
    port: int | None,
    prompts: Path | None,
    **times: int,
) -> "MTPTuningRun":
    """The run with its verdict, shown while it is going on and at its end."""
    import os
    from datetime import UTC, datetime

    from mtp_operator.local.folder import EvidenceFolder
    from mtp_operator.local.launch import check_port
    from mtp_operator.local.local_errors import RefusedError
    from mtp_operator.local.local_node import this_machine
    from mtp_operator.local.tuning import Options, Surroundings, Tuning, new_run, resumed

    from .tune_view import view

    if port is not None:
        check_port(port)
    folder = EvidenceFolder(path)
    try:
        run, kept = new_run(model, settings, datetime.now(UTC)), folder.read()
        if kept is not None and not resume:
            raise RefusedError(
                f"{path}: has a run already; continue it with --resume, or name another folder with --to"
            )
        if kept is not None:
            run = resumed(kept, run)
        with view(run, path) as watch:
            options = Options(launch=launch, port=port, prompts=prompts, **times)
            around = Surroundings(this_machine(os.environ), is_stopped=stop)
            run = Tuning(run, folder, options, around, watch).until_verdict()
        _conclude(run, launch, folder)
        return run
    finally:
        folder.close()


class _Stop:
    """Whether the user has asked for the end: by Ctrl-C, or by ending the terminal or the process."""

    def __init__(self) -> None:
        self._is_asked = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask)

    def _ask(self, *_: object) -> None:
        self._is_asked = True

    def __call__(self) -> bool:
        return self._is_asked


def _conclude(run: "MTPTuningRun", launch: "Launch", folder: "EvidenceFolder") -> None:
    """Print the verdict, what to do with it, and where to look."""
    from mtp_operator.report.extract import report_data

    from .tune_view import conclusion

    data = report_data(run)
    file, text = _report(data)
    folder.write_file(folder.path / file, text)
    verdict = run.status.verdict
    n_spec = verdict.n_spec if verdict else None
    serve = None if n_spec is None else launch.serve_line(run, n_spec)
    conclusion(run, data, serve, folder.run_file, folder.path / file)


def _report(data: Any) -> tuple[str, str]:
    """Name and text of the report: a page, or Markdown where what draws pages is not installed."""
    try:
        from mtp_operator.report.page import page
    except ModuleNotFoundError:
        from mtp_operator.report.markdown import markdown

        return "report.md", markdown(data)
    return "report.html", page(data)


def _end(message: str, status: int) -> NoReturn:
    print(f"mtp tune: {message}", file=sys.stderr)
    raise typer.Exit(status)
