"""The report as Markdown, for a pull request or a ticket."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from .data import RUNNING, Candidate, Level, ReportData, Trial
from .words import bounds, headline, minutes, number, percent, ratio, small_percent


def markdown(report: ReportData) -> str:
    """The report; whatever the run holds is text, never markup."""
    return "\n\n".join(part for part in _parts(report) if part) + "\n"


def _parts(report: ReportData) -> Iterator[str]:
    yield f"## {escaped(headline(report.verdict, report.cost))}"
    yield f"Model {code(report.model_name)} in namespace {code(report.namespace)}, tuning run {code(report.name)}."
    yield escaped(report.verdict.message)
    yield _candidates(report)
    yield f"No curve: {escaped(report.no_curve)}" if report.no_curve else ""
    yield _noise(report)
    yield from _level_speedups(report)
    yield from _acceptance(report)
    yield from _latencies(report)
    yield from _limits(report)
    yield from _categories(report)
    yield from _outputs(report)
    yield from _trials(report)
    yield "### Cost"
    yield _cost(report)
    yield "### Provenance"
    yield table(("", ""), ((fact.label, code(fact.value)) for fact in report.provenance))
    for command in report.commands:
        yield f"Engine arguments at n_spec={command.n_spec}:"
        yield fenced(command.line)


def _candidates(report: ReportData) -> str:
    if not report.candidates:
        return ""
    header = ("n_spec", "trials", "tok/s", "measured", "estimate", "95% CI", "acceptance length", "limits", "output")
    return table(header, (_candidate(one, report.verdict.n_spec) for one in report.candidates))


def _candidate(one: Candidate, chosen: int | None) -> Sequence[str]:
    baseline = "1x" if one.n_spec == 0 and one.trials else ""
    return (
        f"**{one.n_spec}**" if one.n_spec == chosen else str(one.n_spec),
        str(one.trials),
        number(one.output_tokens_per_second) if one.output_tokens_per_second is not None else "",
        ratio(one.speedup, one.measured) if one.speedup and one.measured is not None else baseline,
        ratio(one.speedup) if one.speedup else baseline,
        bounds(one.speedup) if one.speedup else "",
        number(one.acceptance_length) if one.acceptance_length is not None else "",
        one.limits or "",
        code(one.failed) if one.failed else code(one.output) if one.output else "",
    )


def _noise(report: ReportData) -> str:
    if report.noise is None:
        return ""
    source = "measured" if report.noise.is_measured else "assumed: no n_spec was tried twice"
    return f"Noise between trials: {small_percent(report.noise.share)} ({source})."


def _level_speedups(report: ReportData) -> Iterator[str]:
    levels = [curve for curve in report.curves if curve.concurrency is not None]
    if len(levels) < 2:
        return
    yield "### Speedup by concurrency"
    header = ("n_spec", *(f"concurrency {curve.concurrency}" for curve in levels))
    measured = {one.n_spec for one in report.candidates if one.trials and one.n_spec}
    rows = (
        (str(points[0].n_spec), *(f"{ratio(point.believed)} ({bounds(point.believed)})" for point in points))
        for points in zip(*(curve.points for curve in levels), strict=True)
        if points[0].n_spec in measured
    )
    yield table(header, rows)


def _acceptance(report: ReportData) -> Iterator[str]:
    if not report.acceptance:
        return
    yield "### Acceptance by position"
    most = max(len(one.positions) for one in report.acceptance)
    header = ("concurrency", *(f"P{position}" for position in range(1, most + 1)))
    yield table(
        header,
        ((str(one.concurrency), *(percent(accepted.share) for accepted in one.positions)) for one in report.acceptance),
    )


def _latencies(report: ReportData) -> Iterator[str]:
    rows = [
        (
            str(trial.n_spec),
            str(level.concurrency),
            *(
                " / ".join(map(number, (reported.p50, reported.p95, reported.p99))) if reported else ""
                for reported in (level.time_to_first_token, level.time_per_output_token, level.request_latency)
            ),
        )
        for trial, level in _levels(report)
        if level.request_latency or level.time_to_first_token
    ]
    if rows:
        yield "### Latencies, ms (P50 / P95 / P99)"
        yield table(("n_spec", "concurrency", "first token", "per output token", "request"), rows)


def _limits(report: ReportData) -> Iterator[str]:
    if not report.limits:
        return
    yield "### Limits"
    yield table(
        ("limit", "concurrency", "n_spec", "over the limit", "kept"),
        (
            (
                f"{limit.metric} <= {limit.max_milliseconds} ms",
                str(limit.concurrency),
                str(one.n_spec),
                f"{one.exceeding} of {one.requests}",
                one.outcome,
            )
            for limit in report.limits
            for one in limit.outcomes
        ),
    )


def _categories(report: ReportData) -> Iterator[str]:
    names = sorted({name for _, level in _levels(report) for name in level.categories})
    if not names:
        return
    yield "### Tokens per second of one request, by category"
    yield table(
        ("n_spec", "concurrency", *(code(name) for name in names)),
        (
            (
                str(trial.n_spec),
                str(level.concurrency),
                *(number(level.categories[name]) if name in level.categories else "" for name in names),
            )
            for trial, level in _levels(report)
        ),
    )


def _outputs(report: ReportData) -> Iterator[str]:
    checked = [(trial, trial.output) for trial in report.trials if trial.output]
    if not checked:
        return
    yield "### Output check"
    yield table(
        ("n_spec", "status", "violations", "detection limit", "altered texts", "JSON schema", "tool call"),
        (
            (
                str(trial.n_spec),
                output.status,
                f"{output.violations} of {output.positions}",
                small_percent(output.detection_limit) if output.detection_limit is not None else "",
                f"{output.altered_texts} of {output.texts}",
                output.json_schema,
                output.tool_call,
            )
            for trial, output in checked
        ),
    )
    for trial, output in checked:
        for what, text in (("first divergence", output.first_divergence), ("not checked", output.message)):
            if text:
                yield f"n_spec={trial.n_spec}, {what}: {code(text)}"


def _trials(report: ReportData) -> Iterator[str]:
    if not report.trials:
        return
    yield "### Trials"
    yield table(
        ("trial", "n_spec", "state", "GPU time", "why"),
        (
            (
                code(trial.name),
                str(trial.n_spec),
                trial.state,
                minutes(trial.gpu_seconds) if trial.gpu_seconds is not None else "",
                escaped(f"reused from {trial.adopted_from}" if trial.adopted_from else trial.rationale or ""),
            )
            for trial in report.trials
        ),
    )
    for trial in report.trials:
        if trial.reason or trial.message:
            yield f"{code(trial.name)}: {code(f'{trial.reason}: {trial.message}')}"
        for warning in trial.warnings:
            yield f"{code(trial.name)}, warning: {code(warning)}"


def _cost(report: ReportData) -> str:
    cost = report.cost
    running = " so far" if report.verdict.type == RUNNING else ""
    most_minutes = "no limit of GPU time" if cost.max_gpu_minutes is None else f"{cost.max_gpu_minutes} min"
    adopted = f"{cost.adopted} reused from other runs; " if cost.adopted else ""
    text = (
        f"{adopted}{cost.measured} trials measured, {cost.failed} failed, {cost.lost} lost{running}; "
        f"{minutes(cost.gpu_seconds)} of GPU time (budget: {cost.max_trials} trials, {most_minutes})."
    )
    if cost.sweep_gpu_seconds is not None:
        text += f" One trial of every n_spec would take about {minutes(cost.sweep_gpu_seconds)}."
    return text


def _levels(report: ReportData) -> Iterator[tuple[Trial, Level]]:
    return ((trial, level) for trial in report.trials for level in trial.levels)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose cells are Markdown already; short rows are filled up."""
    lines = [header, ["---"] * len(header), *([*row, *[""] * (len(header) - len(row))] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escaped(text: str) -> str:
    """Text in which nothing is markup, a link or a mention."""
    plain = _printable(text).replace("&", "&amp;").replace("<", "&lt;")
    plain = re.sub(r"[\\`*\[\]#|~]|^>|(?<!\w)_|_(?!\w)", r"\\\g<0>", plain)
    return plain.replace("@", "@\u200b").replace("://", ":\u200b//").replace("www.", "www\u200b.")


def code(text: str) -> str:
    """A code span, also within a table: of such text nothing is interpreted."""
    plain = _printable(text).replace("|", "\u00a6")
    fence = "`" * (_longest_run(plain) + 1)
    pad = " " if plain.startswith("`") or plain.endswith("`") else ""
    return f"{fence}{pad}{plain}{pad}{fence}" if plain.strip() else ""


def fenced(text: str) -> str:
    """A block of code."""
    plain = _printable(text)
    fence = "`" * max(3, _longest_run(plain) + 1)
    return f"{fence}\n{plain}\n{fence}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _printable(text: str) -> str:
    """One line without what a terminal or a browser would obey: control characters, changes of direction."""
    spaced = " ".join(text.split())
    return "".join(character for character in spaced if unicodedata.category(character) not in ("Cc", "Cf", "Cs"))
