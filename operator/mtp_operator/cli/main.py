"""The `mtp` command: the operator, the programs of its Jobs, the bench by hand, and the tuner from outside.

Each command imports what it needs when it runs: pods start these programs, and a GPU waits for them.
"""

import sys
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from mtp_operator.api.base import Schema
from mtp_operator.api.fetch import PROGRESS_PORT

from . import (
    bench_command,
    export_command,
    init_command,
    pin_command,
    render_command,
    report_command,
    self_test_command,
    tune_command,
    tuner_commands,
    validate_command,
)

app = typer.Typer(
    help="n_spec for models with Multi-Token Prediction, measured where they run.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
bench_command.register(app)
export_command.register(app)
init_command.register(app)
pin_command.register(app)
render_command.register(app)
report_command.register(app)
self_test_command.register(app)
tune_command.register(app)
tuner_commands.register(app)
validate_command.register(app)

REFUSED = 2
"""Exit status where the arguments or the environment cannot be used."""

Plan = TypeVar("Plan", bound=Schema)


@app.command()
def operator() -> None:
    """Run the operator; its settings are environment variables whose names begin with MTP_OPERATOR_."""
    from mtp_operator.runtime.app import run_operator
    from mtp_operator.runtime.installation import SettingsError, load_settings
    from mtp_operator.runtime.kopf_reflector import KopfReflector

    try:
        settings = load_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(REFUSED) from None
    raise typer.Exit(run_operator(settings, KopfReflector))


@app.command()
def trial(
    plan: Annotated[str, typer.Option(help="What to measure: a TrialPlan as JSON.")],
    termination_log: Annotated[Path, typer.Option(help="Where the result goes.")] = Path("/dev/termination-log"),
) -> None:
    """Measure the engine beside this container (what a trial's bench container runs)."""
    from mtp_operator.api.trial_documents import TrialPlan
    from mtp_operator.bench import trial_program

    raise typer.Exit(trial_program.main(_parsed(plan, TrialPlan), termination_log))


@app.command()
def fetch(
    plan: Annotated[str, typer.Option(help="What to fetch: a FetchPlan as JSON.")],
    termination_log: Annotated[Path, typer.Option(help="Where the result goes.")] = Path("/dev/termination-log"),
    port: Annotated[int, typer.Option(help="Port that reports the progress; 0 chooses a free one.")] = PROGRESS_PORT,
) -> None:
    """Download weights from the Hugging Face hub onto a PVC (what a fetch Job runs)."""
    from mtp_operator.api.fetch import FetchPlan
    from mtp_operator.fetch import fetch_program

    raise typer.Exit(fetch_program.main(_parsed(plan, FetchPlan), termination_log, port))


@app.command()
def copy_cache(
    source: Annotated[Path, typer.Argument(help="The compile cache that trials have filled.")],
    target: Annotated[Path, typer.Argument(help="Where the engine of this pod looks for it.")],
) -> None:
    """Give a server its own copy of a compile cache (what its pod runs first)."""
    from mtp_operator.fetch.compile_cache import copy_cache as copy

    print(copy(source, target))


@app.command()
def make_cache(folder: Annotated[Path, typer.Argument(help="The folder of the cache.")]) -> None:
    """Make the folder of a compile cache (what a trial's pod runs first)."""
    from mtp_operator.fetch.compile_cache import make_folder

    print(make_folder(folder))


@app.command()
def probe(plan: Annotated[str, typer.Option(help="Which engine to ask: a ProbePlan as JSON.")]) -> None:
    """Report when a server's engine is ready and when it has finished (what runs beside a server's engine)."""
    from mtp_operator.api.serving_record import ProbePlan
    from mtp_operator.bench import probe as probe_program

    raise typer.Exit(probe_program.main(_parsed(plan, ProbePlan)))


def _parsed(plan: str, kind: type[Plan]) -> Plan:
    from pydantic import ValidationError

    try:
        return kind.model_validate_json(plan)
    except ValidationError as error:
        print(f"--plan: {error}", file=sys.stderr)
        raise typer.Exit(REFUSED) from None
