"""`kubectl mtp status` as text."""

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from mtp_operator.report.words import number

from .documents import CandidateLine, ConditionLine, StatusDocument
from .text import BAD, BUSY, GOOD, WIDE_COLUMNS, heading, labelled, plain_table, short_speedup

_POSITIONS_SHOWN = 4
"""Of the draft: `-o json` has all."""

_GOOD_IF_FALSE = frozenset({"Reconciling", "Stalled"})


def status_view(document: StatusDocument, width: int) -> RenderableType:
    """Header, evidence, notes and conditions.

    Args:
        document: what there is to show.
        width: of the terminal, in columns.
    """
    parts: list[RenderableType] = [
        Text(document.headline, style=f"bold {color_of(document)}"),
        Text(),
        labelled((fact.label, fact.value) for fact in document.facts),
    ]
    if document.candidates:
        parts += [heading("Evidence (speedup over n_spec=0, 95% CI)"), candidates_table(document.candidates, width)]
    if document.notes:
        parts += [heading("Notes"), *(Text(note) for note in document.notes)]
    parts += [heading("Conditions"), *_conditions(document.conditions)]
    return Group(*parts)


def print_status(console: Console, document: StatusDocument) -> None:
    """Print it at the console's width."""
    console.print(status_view(document, console.width))


def color_of(document: StatusDocument) -> str:
    """The color of a model: red where somebody has to act, yellow while something is under way."""
    holds = {one.type: one.status == "True" for one in document.conditions}
    if holds.get("Stalled"):
        return BAD
    return GOOD if holds.get("Ready") and not document.summary.startswith("Tuning") else BUSY


def candidates_table(candidates: tuple[CandidateLine, ...], width: int) -> Table:
    """One row for each n_spec that was tried; an asterisk marks what was chosen."""
    concurrencies = sorted({level.concurrency for one in candidates for level in one.levels})
    is_wide = width >= WIDE_COLUMNS
    speeds = [f"TOK/S\nc={one}" for one in concurrencies] if len(concurrencies) in (2, 3) else ["TOK/S"]
    with_limits = any(one.limits for one in candidates)
    columns = ["N_SPEC", "TRIALS", *speeds, "SPEEDUP", "ACC_LEN"]
    if is_wide:
        columns += [f"P1-P{_POSITIONS_SHOWN}", "TTFT p95", "TPOT p50"]
    columns += (["LIMITS"] if with_limits else []) + ["OUTPUT"]
    table = plain_table(*columns, text=("OUTPUT",))
    for one in candidates:
        row = [f"{one.n_spec}{'*' if one.is_chosen else ' '}", str(one.trials), *_speeds(one, concurrencies, speeds)]
        row += [_speedup(one), f"{one.acceptance_length:.2f}" if one.acceptance_length else "-"]
        if is_wide:
            row += [_acceptance(one), *_latencies(one)]
        row += ([one.limits or "-"] if with_limits else []) + [one.failed or one.output or "-"]
        table.add_row(*row, style=GOOD if one.is_chosen else BAD if one.failed else None)
    return table


def _speeds(one: CandidateLine, concurrencies: list[int], columns: list[str]) -> Iterator[str]:
    if len(columns) == 1:
        yield number(one.output_tokens_per_second) if one.output_tokens_per_second else "-"
        return
    by_level = {level.concurrency: level.output_tokens_per_second for level in one.levels}
    yield from (number(by_level[level]) if level in by_level else "-" for level in concurrencies)


def _speedup(one: CandidateLine) -> str:
    if one.n_spec == 0:
        return "baseline"
    return short_speedup(one.speedup) if one.speedup else "-"


def _acceptance(one: CandidateLine) -> str:
    return " ".join(f"{share:.2f}".removeprefix("0") for share in one.acceptance[:_POSITIONS_SHOWN]) or "-"


def _latencies(one: CandidateLine) -> Iterator[str]:
    lowest = one.levels[0] if one.levels else None
    first = lowest.time_to_first_token_p95_milliseconds if lowest else None
    each = lowest.time_per_output_token_p50_milliseconds if lowest else None
    yield from (f"{number(value)} ms" if value is not None else "-" for value in (first, each))


def is_good(condition: ConditionLine) -> bool:
    """Whether the condition is as one wants it."""
    return (condition.status == "True") != (condition.type in _GOOD_IF_FALSE)


def _conditions(conditions: tuple[ConditionLine, ...]) -> Iterator[RenderableType]:
    # What does not hold and should not is left out: it says nothing.
    shown = [one for one in conditions if not (one.type in _GOOD_IF_FALSE and is_good(one))]
    yield labelled((one.type, _marked(one)) for one in shown)
    said: set[str] = set()
    for one in shown:
        if is_good(one) or not one.message or one.message in said:
            continue
        said.add(one.message)
        yield Text.assemble(("\n" if len(said) == 1 else "", ""), (f"{one.reason}: ", "bold"), one.message)
        if one.action:
            yield Text.assemble(("What to do: ", "bold"), one.action)


def _marked(one: ConditionLine) -> Text:
    if is_good(one):
        return Text.assemble(("✔ ", GOOD), one.reason)
    return Text.assemble(("✖ ", BAD) if one.action else ("○ ", BUSY), one.reason)
