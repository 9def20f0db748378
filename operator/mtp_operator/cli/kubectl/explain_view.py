"""`kubectl mtp explain` as text."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from mtp_operator.report.data import RUNNING, TrialSummary
from mtp_operator.report.words import number

from .documents import ExplainDocument, ReasonDocument
from .text import BAD, BUSY, GOOD, QUIET, hanging, heading, labelled, plain_table, short_speedup


def reason_view(document: ReasonDocument) -> RenderableType:
    """What a reason means, and what to do."""
    return Group(
        Text(document.reason, style="bold"),
        Text(),
        Text(document.meaning),
        Text(),
        labelled(
            (
                ("Where", ", ".join(document.where)),
                ("Who acts", document.who),
                ("What to do", document.action),
                ("Example", document.example),
            )
        ),
    )


def explain_view(document: ExplainDocument) -> RenderableType:
    """Trials in their order with why each was made, what was left out, and what would change the answer."""
    parts: list[RenderableType] = [Text(document.headline, style="bold"), Text(f"MTPTuningRun {document.run}")]
    if document.answer:
        parts += [heading("Now" if document.verdict == RUNNING else "Verdict"), Text(document.answer)]
    if document.trials:
        parts += [heading("Trials in their order"), hanging(_trials(document.trials))]
    if document.predictions:
        parts += [heading("Not measured"), _predictions(document)]
    parts += [heading("What would change the answer"), hanging(("-", Text(one)) for one in document.changes)]
    return Group(*parts)


def _trials(trials: tuple[TrialSummary, ...]) -> Iterator[tuple[str, Text]]:
    for place, one in enumerate(trials, 1):
        words = Text.assemble(mark_of(one), f" n_spec={one.n_spec}: {outcome(one)}")
        if one.rationale:
            words.append(f"\nwhy: {one.rationale}", style=QUIET)
        for warning in one.warnings:
            words.append(f"\nwarning: {warning}", style=BUSY)
        yield f"{place}.", words


def mark_of(one: TrialSummary) -> tuple[str, str]:
    """The mark and the color of a trial's state."""
    match one.state:
        case "Measured":
            return ("✔", GOOD) if not one.reason else ("✔", BUSY)
        case "Failed":
            return "✖", BAD
        case "Planned":
            return "○", QUIET
        case "Running" | "Ending":
            return "◐", BUSY
    return "·", QUIET


def outcome(one: TrialSummary) -> str:
    """What came of a trial, in a line."""
    taken = f" (from {one.adopted_from})" if one.adopted_from else ""
    if one.output_tokens_per_second is not None and one.state == "Measured":
        length = f", acceptance length {one.acceptance_length:.2f}" if one.acceptance_length else ""
        doubt = f"; {one.reason}: {one.message}" if one.reason else ""
        return f"{number(one.output_tokens_per_second)} tok/s{length}{taken}{doubt}"
    if one.reason:
        return f"{one.state}, {one.reason}: {one.message or ''}{taken}"
    return one.state


def _predictions(document: ExplainDocument) -> RenderableType:
    table = plain_table("N_SPEC", "PREDICTED (95% CI)")
    for one in document.predictions:
        table.add_row(str(one.n_spec), short_speedup(one.speedup))
    return table
