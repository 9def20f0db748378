"""`mtp tuner-step` and `mtp replay`."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from mtp_operator.cli import tuner_commands
from mtp_operator.tuner.replay import Noise, fastest, fixed_list, read_curves, runs_of, summarised, sweep, tune

app = typer.Typer()
tuner_commands.register(app)

HEADER = "curve,engine,concurrency,n_spec,tokens_per_second,acceptance_rate,per_position_acceptance\n"
HEALTHY = "".join(
    f"healthy,vLLM,1,{n},{speed},,{shares}\n"
    for n, speed, shares in (
        (0, 50, ""),
        (1, 85, "0.85"),
        (2, 112, "0.85;0.7"),
        (3, 131, "0.84;0.69;0.56"),
        (4, 120, "0.85;0.7;0.55;0.44"),
    )
)
LOADED = "".join(f"loaded,vLLM,32,{n},{900 - 90 * n},0.4,\n" for n in range(4))
LEVELS = "".join(f"levels,vLLM,{c},{n},{c * speed},,\n" for c in (1, 8) for n, speed in ((0, 40), (2, 60)))

LINE: dict[str, Any] = {
    "settings": {"nSpecs": [0, 1, 2], "maxTrials": 4, "levels": [{"concurrency": 1, "weight": 1}]},
    "arms": [{"nSpec": 0, "boot": 0, "levels": [{"concurrency": 1, "windows": [50, 51], "acceptance": None}]}],
}


def step(*lines: str) -> tuple[int, list[dict[str, Any]]]:
    result = CliRunner().invoke(app, ["tuner-step"], input="".join(line + "\n" for line in lines))
    return result.exit_code, [json.loads(line) for line in result.stdout.splitlines()]


def changed(path: str, value: object) -> str:
    document = json.loads(json.dumps(LINE))
    *parents, last = path.split(".")
    place = document
    for key in parents:
        place = place[int(key) if key.isdigit() else key]
    place[last] = value
    return json.dumps(document)


def test_every_line_is_answered_by_itself() -> None:
    code, answers = step(json.dumps({**LINE, "arms": []}), json.dumps(LINE))

    assert code == 0
    assert [answer["measure"]["nSpec"] for answer in answers] == [0, 2]


def test_a_verdict_has_the_agreed_form() -> None:
    arms = [
        {"nSpec": n, "boot": boot, "levels": [{"concurrency": 1, "windows": [speed] * 8, "acceptance": None}]}
        for n, speed in ((0, 50.0), (1, 90.0), (2, 70.0))
        for boot in (0, 1)
    ]
    code, answers = step(json.dumps({"settings": {**LINE["settings"], "maxTrials": 6}, "arms": arms}))

    verdict = answers[0]["verdict"]
    assert code == 0
    assert (verdict["type"], verdict["nSpec"]) == ("Selected", 1)
    assert verdict["speedup"]["low"] < 1.8 < verdict["speedup"]["high"]
    assert verdict["message"].startswith("n_spec=1 is 1.8")


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("{not json", "Invalid JSON"),
        (changed("settings.maxTrials", -1), "settings.maxTrials"),
        (changed("settings.nSpecs", []), "settings.nSpecs"),
        (changed("settings.nSpecs", [1, 1]), "nSpecs: 1 is given twice"),
        (changed("settings.levels", [{"concurrency": 0}]), "settings.levels.0.concurrency"),
        (changed("arms.0.nSpec", -2), "arms.0.nSpec"),
        (changed("arms.0.nSpec", 7), "arms.nSpec: 7 is not in settings.nSpecs"),
        (changed("arms.0.levels", []), "levels are missing"),
        (changed("arms.0.levels.0.windows", [1, 0]), "arms.0.levels.0.windows.1"),
        (changed("arms.0.levels.0.acceptance", {"rate": 1.5}), "arms.0.levels.0.acceptance.rate"),
    ],
)
def test_a_bad_line_is_answered_by_an_error_that_names_the_field_and_the_next_is_read(line: str, field: str) -> None:
    code, (error, answer) = step(line, json.dumps(LINE))

    assert code == 1
    assert field in error["error"]
    assert "\n" not in error["error"]
    assert "measure" in answer


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("curve,n_spec\n", "row 1: column concurrency is missing"),
        (HEADER, "there are no curves"),
        (HEADER + "a,vLLM,1,0,50,,\na,vLLM,1,x,50,,\n", "row 3, column n_spec: 'x' is not a number"),
        (HEADER + "a,vLLM,1,1.5,50,,\n", "row 2, column n_spec: 1.5 is not a whole number"),
        (HEADER + "a,vLLM,0,1,50,,\n", "row 2, column concurrency"),
        (HEADER + "a,vLLM,1,1,-5,,\n", "row 2, column tokens_per_second"),
        (HEADER + "a,vLLM,1,1,50,1.2,\n", "row 2, column acceptance_rate"),
        (HEADER + "a,vLLM,1,1,50,,0.8;x\n", "row 2, column per_position_acceptance"),
        (HEADER + ",vLLM,1,1,50,,\n", "row 2, column curve: is empty"),
        (HEADER + "a,vLLM,1,1,50,,\na,vLLM,1,1,51,,\n", "row 3, column n_spec: 1 at concurrency 1 is given twice"),
        (HEADER + "a,vLLM,1,0,50,,\na,vLLM,8,0,90,,\na,vLLM,1,1,70,,\n", "n_spec 1 has no row with concurrency 8"),
    ],
)
def test_a_bad_file_of_curves_is_refused_with_row_and_column(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "curves.csv"
    path.write_text(text)

    result = CliRunner().invoke(app, ["replay", str(path)])

    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_missing_file_and_an_unknown_curve_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    path.write_text(HEADER + HEALTHY)

    missing = CliRunner().invoke(app, ["replay", str(tmp_path / "none.csv")])
    unknown = CliRunner().invoke(app, ["replay", str(path), "--explain", "other"])

    assert (missing.exit_code, unknown.exit_code) == (1, 1)
    assert "none.csv" in missing.stderr
    assert "there are healthy" in unknown.stderr


def test_a_replay_counts_boots_and_regret_beside_the_baselines(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    path.write_text(HEADER + HEALTHY + LOADED + LEVELS)
    arguments = ["replay", str(path), "--repeats", "2", "--output", "json"]

    first, second = (CliRunner().invoke(app, arguments) for _ in range(2))

    document = json.loads(first.stdout)
    assert first.stdout == second.stdout
    assert [(one["curve"], one["bestNSpec"]) for one in document["curves"]] == [
        ("healthy", 3),
        ("loaded", 0),
        ("levels", 2),
    ]
    assert [run["nSpec"] for one in document["curves"] for run in one["repeats"]] == [3, 3, 0, 0, 2, 2]
    assert document["total"]["wronglyOn"] == 0
    assert document["total"]["worstRegret"] == 0
    assert document["baselines"]["everyValueTwice"]["shareOfDoubleSweep"] == 1
    assert set(document["baselines"]) == {"everyValueOnce", "everyValueTwice", "fixedList", "tpe"}


def test_a_table_and_an_explanation_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    path.write_text(HEADER + HEALTHY)

    table = CliRunner().invoke(app, ["replay", str(path)])
    explanation = CliRunner().invoke(app, ["replay", str(path), "--explain", "healthy"])

    assert "everyValueOnce" in table.stdout
    assert "Selected: n_spec=3" in explanation.stdout


def test_a_boot_shows_the_same_whatever_was_booted_before() -> None:
    (curve,) = read_curves((HEADER + HEALTHY).splitlines())
    noise = Noise(boot=0.03, seed=7)

    assert curve.boot(2, 1, 0, noise) == curve.boot(2, 1, 0, noise)
    assert len({curve.boot(n, k, r, noise).levels[0].windows for n in (1, 2) for k in (0, 1) for r in (0, 1)}) == 8


def test_regret_and_wrongly_on_are_counted_against_the_recorded_truth() -> None:
    curves = read_curves((HEADER + HEALTHY + LOADED).splitlines())
    noise = Noise(boot=0.0, run=0.0)

    once = summarised([fastest(curve, repeat, noise, sweep(1)(curve)) for curve, repeat in runs_of(curves, 1)])
    poor = summarised([fastest(curve, repeat, noise, (1,)) for curve, repeat in runs_of(curves, 1)])

    assert (once.mean_regret, once.wrongly_on, once.share_of_double_sweep) == (0, 0, 0.5)
    assert poor.worst_regret == pytest.approx(1 - 85 / 131)
    assert poor.wrongly_on == 1
    assert fixed_list(curves[0]) == (0, 2, 3, 4)
    assert tune(curves[0], 0, noise, 12).n_spec == 3
