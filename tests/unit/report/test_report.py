"""Reports say what the run says, and only that."""

import re
import shlex
from typing import Any

import pytest

from mtp_operator.api.run import MTPTuningRun, TrialState, TrialStatus
from mtp_operator.report import words
from mtp_operator.report.data import Cost, Interval, Verdict
from mtp_operator.report.markdown import code, escaped, fenced, markdown
from mtp_operator.resources.trial_job import trial_job

from .golden import GOLDEN, data_of, reports
from .runs import HOSTILE, RUNS, levels, selected


@pytest.mark.parametrize("name", RUNS)
def test_reports_are_as_recorded(name: str) -> None:
    for file, content in reports(name).items():
        assert content == (GOLDEN / file).read_text(), "if the change is meant, run `make generate`"


def test_no_recorded_report_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(RUNS)


def test_the_arguments_are_those_of_a_trial() -> None:
    run = MTPTuningRun.from_wire(levels())
    data = data_of(levels())

    assert [command.n_spec for command in data.commands] == [0, data.verdict.n_spec]
    for command in data.commands:
        trial = TrialStatus(
            number=1, candidate="off", n_spec=command.n_spec, repeat=0, job_name="job", state=TrialState.PLANNED
        )
        pod = trial_job(run, trial, None, ready_seconds=60, level_seconds=60)["spec"]["template"]["spec"]
        assert shlex.split(command.line) == pod["initContainers"][0]["args"]


def test_values_of_environment_variables_stay_in_the_cluster() -> None:
    text = data_of(levels()).model_dump_json()

    assert "NCCL_P2P_DISABLE" in text
    assert "hidden-value" not in text


def test_trials_that_do_not_fit_together_have_no_curve() -> None:
    body = selected()
    body["status"]["trials"][1]["node"] = "another"

    data = data_of(body)

    assert data.curves == ()
    assert "n_spec is never compared across machines" in (data.no_curve or "")
    assert data.verdict.speedup is not None


def test_trials_that_were_taken_over_are_said_to_be_and_cost_nothing() -> None:
    body = selected()
    body["status"]["trials"][0]["adoptedFrom"] = "gemma-0123456789"

    data = data_of(body)
    text = markdown(data)

    assert (data.cost.adopted, data.trials[0].adopted_from) == (1, "gemma-0123456789")
    assert "1 reused from other runs; " in text
    assert "reused from gemma" in text


def test_a_run_that_has_just_begun_can_be_reported() -> None:
    body = selected()
    body["status"] = {}

    assert "## Tuning: 0 of up to 24 trials measured" in markdown(data_of(body))


@pytest.mark.parametrize(
    ("estimate", "low", "high", "text"),
    [
        (2.1, 1.82, 2.44, "2.10x (95% CI 1.82-2.44)"),
        (1.174, 1.112, 1.249, "1.17x (95% CI 1.11-1.25)"),
        (1.0234, 1.0171, 1.0299, "1.023x (95% CI 1.017-1.030)"),
        (3.41, 1.9, 6.2, "3.4x (95% CI 1.9-6.2)"),
        (1.0, 1.0, 1.0, "1.00x (95% CI 1.00-1.00)"),
    ],
)
def test_digits_follow_the_interval(estimate: float, low: float, high: float, text: str) -> None:
    assert words.speedup(Interval(estimate=estimate, low=low, high=high)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.5342, "0.534"), (9.996, "10.0"), (57.04, "57.0"), (999.7, "1,000"), (13561, "13,600")],
)
def test_figures_have_three_digits(value: float, text: str) -> None:
    assert words.number(value) == text


def test_an_unknown_verdict_is_told_as_it_is() -> None:
    cost: dict[str, Any] = dict.fromkeys(("measured", "failed", "lost", "max_trials", "gpu_seconds"), 0)

    assert words.headline(Verdict(type="Other"), Cost(**cost, max_gpu_minutes=1)) == "Other"


def test_markdown_holds_no_markup_of_the_run() -> None:
    text = markdown(data_of(levels(HOSTILE)))
    outside = re.sub(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)", "", text)

    assert "alert(1)" in text
    assert "@" not in outside
    assert re.findall("<(?!= [0-9]+ ms)", outside) == []
    assert not {character for character in text if ord(character) < 32} - {"\n"}
    assert len({line.count("|") for line in text.splitlines() if line.startswith("| `qwen")}) == 1


def test_texts_are_escaped() -> None:
    assert escaped("*a* <b> @c [d](e) n_spec _f_ https://g") == (
        "\\*a\\* &lt;b> @\u200bc \\[d\\](e) n_spec \\_f\\_ https:\u200b//g"
    )
    assert code("a`` b|c\n") == "```a`` b\u00a6c```"
    assert code("`") == "`` ` ``"
    assert fenced("```\n") == "````\n```\n````"
