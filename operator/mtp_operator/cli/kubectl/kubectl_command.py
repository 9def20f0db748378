"""The `kubectl mtp` command."""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from mtp_operator.cli.report_command import Output as ReportOutput
from mtp_operator.cli.report_command import deliver, written

from .session import FAILED, Output, Session, verb

if TYPE_CHECKING:
    from mtp_operator.api.model import MTPModel
    from mtp_operator.api.run import MTPTuningRun

app = typer.Typer(
    help="See what the operator does with your models, and why.\n\nExamples: `kubectl mtp status qwen -n llm`, "
    "`kubectl mtp explain NoNodeFits`. Only retune writes to the cluster.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_NAME = Annotated[str, typer.Argument(metavar="NAME", help="Name of the MTPModel.", show_default=False)]


def _print_version(requested: bool) -> None:
    if requested:
        print(f"kubectl-mtp {version('mtp-operator')}")
        raise typer.Exit


@app.callback()
def main(
    *,
    is_version_asked: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """See `app`."""


@app.command()
@verb
def status(session: Session, name: _NAME) -> None:
    """Show a model: what it serves, the evidence, notes and conditions."""
    from .status_document import status_document
    from .status_view import status_view

    document = status_document(session.connection.model(name), session.connection.runs())
    session.show(document, lambda shown: status_view(shown, session.console.width))


@app.command()
@verb
def explain(
    session: Session,
    subject: Annotated[str, typer.Argument(metavar="NAME|REASON", help="An MTPModel, or a reason such as NoNodeFits.")],
    n_spec: Annotated[int | None, typer.Option("--n", min=0, help="Explain this n_spec alone.")] = None,
) -> None:
    """Explain why a model has its n_spec, or what a reason means and what to do."""
    from .explain_document import explain_document, reason_document
    from .explain_view import explain_view, reason_view

    if any(letter.isupper() for letter in subject):
        reason = reason_document(subject)
        if reason is None:
            _refuse(f"{subject} is not a reason; docs/reasons.md lists them all")
        session.show(reason, reason_view)
        return
    model = session.connection.model(subject)
    session.show(explain_document(model, _run_of(session, model), n_spec), explain_view)


@app.command()
@verb
def watch(
    session: Session,
    name: _NAME,
    until_settled: Annotated[
        bool,
        typer.Option("--until-settled", help="Exit when nothing is in progress any more; exit status 1 if blocked."),
    ] = False,
) -> None:
    """Follow a model live: the tree of its tuning and the curve; lines where the output is not a terminal."""
    from .watching import watch_model

    raise typer.Exit(watch_model(session, name, until_settled=until_settled))


def _run_of(session: Session, model: "MTPModel") -> "MTPTuningRun":
    from .status_document import run_to_show

    run = run_to_show(model, session.connection.runs())
    if run is None:
        _refuse(f"MTPModel {model.metadata.name} has no MTPTuningRun: {model.status.summary or 'nothing is measured'}")
    return run


def _refuse(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise typer.Exit(FAILED)


@app.command()
@verb
def report(
    session: Session,
    name: _NAME,
    output: Annotated[ReportOutput, typer.Option("--output", "-o", help="A page, Markdown, or JSON.")] = (
        ReportOutput.HTML
    ),
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Default: standard output.")] = None,
) -> None:
    """Report the run of a model: the same as `mtp report`."""
    from mtp_operator.report.extract import report_data

    run = _run_of(session, session.connection.model(name))
    deliver(written(report_data(run), output), to)


@app.command()
@verb
def compare(
    session: Session,
    left: Annotated[str, typer.Argument(metavar="A", help="An MTPModel or MTPTuningRun.", show_default=False)],
    right: Annotated[str, typer.Argument(metavar="B", help="Another one.", show_default=False)],
) -> None:
    """Compare two runs: two models, or one before and after an upgrade."""
    from mtp_operator.report.extract import report_data

    from .compare_document import compare_document
    from .compare_view import compare_view

    both = [report_data(_run_named(session, name)) for name in (left, right)]
    session.show(compare_document(*both), compare_view)


@app.command()
@verb
def logs(
    session: Session,
    name: _NAME,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow the log.")] = False,
    tail: Annotated[int, typer.Option(min=1, help="Lines from the end.")] = 200,
) -> None:
    """Print the engine's log of the running trial or server. Needs the right to read pods and their logs."""
    from .logs_source import log_source, selector

    connection = session.connection
    pods_path = f"/api/v1/namespaces/{connection.namespace}/pods"
    model = connection.model(name)
    source = log_source(connection.items(pods_path, "Pods", {"labelSelector": selector(model)}))
    if source is None:
        _refuse(f"MTPModel {name} has no pod: {model.status.summary or 'nothing is in progress'}")
    query = {"container": source.container, "tailLines": str(tail)}
    path, what = f"{pods_path}/{source.pod}/log", f"log of {source.what} pod {source.pod}"
    if session.output is Output.JSON:
        if follow:
            _refuse("--follow prints text: leave out one of --follow and -o json")
        from .documents import LogsDocument

        lines = tuple(connection.text(path, what, query).splitlines())
        session.show(LogsDocument(pod=source.pod, container=source.container, lines=lines), str)
        return
    print(f"# {source.what} pod {source.pod}, container {source.container}", file=sys.stderr)
    if follow:
        for line in connection.lines(path, what, {**query, "follow": "true"}):
            print(line, flush=True)
    else:
        print(connection.text(path, what, query), end="")


@app.command()
@verb
def retune(
    session: Session,
    name: _NAME,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Let the API server check it, and change nothing.")
    ] = False,
) -> None:
    """Measure a model again: increases spec.tuning.retuneRequest.

    The only verb that writes; needs patch on mtpmodels.
    """
    from .documents import RetuneDocument
    from .retuning import why_not, words
    from .status_document import run_to_show

    model = session.connection.model(name)
    if reason := why_not(model):
        _refuse(f"MTPModel {name} would not be measured again: {reason}")
    last = run_to_show(model, session.connection.runs())
    request = model.spec.tuning.retune_request + 1
    session.connection.ask_for_tuning(model, request, dry_run=dry_run)
    document = RetuneDocument(
        name=name,
        namespace=model.metadata.namespace,
        retune_request=request,
        dry_run=dry_run,
        message=words(model, last, dry_run=dry_run),
    )
    session.show(document, lambda shown: f"{shown.name}: {shown.message}")


def _run_named(session: Session, name: str) -> "MTPTuningRun":
    """The run of that name, or that of the model of that name."""
    if session.connection.has_run(name):
        return session.connection.run(name)
    return _run_of(session, session.connection.model(name))


@app.command()
@verb
def doctor(session: Session) -> None:
    """Check the cluster and the namespace; exit status 1 if a check failed.

    Reads CRDs, Deployments, Nodes, Pods, StorageClasses and EndpointSlices, too; says which of them is forbidden.
    """
    from .diagnosis import checks
    from .doctor_view import doctor_view
    from .doctoring import facts
    from .documents import DoctorDocument

    document = DoctorDocument(namespace=session.connection.namespace, checks=checks(facts(session.connection)))
    session.show(document, doctor_view)
    if any(one.result == "failed" for one in document.checks):
        raise typer.Exit(FAILED)


@app.command()
@verb
def plan(
    session: Session,
    file: Annotated[
        list[Path], typer.Option("--filename", "-f", help="MTPModels as YAML; - is standard input.", show_default=False)
    ],
) -> None:
    """Show what applying a manifest would do: objects, GPUs, restarts, trials and GPU time.

    Reads Nodes and Pods, too; without that right what is free is not known.
    """
    from .documents import PlanDocument
    from .plan_view import plan_view
    from .planning import planned

    session.show(PlanDocument(models=planned(session.connection, file)), plan_view)
