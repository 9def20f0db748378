"""The registry of reasons holds every reason of the code, and no other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import mtp_operator
from mtp_operator.api.reasons import GROUPS, REASONS

PACKAGE = Path(mtp_operator.__file__).parent
PLACES = (
    "api/conditions.py", "api/trial_documents.py", "api/verdicts.py", "bench", "fetch", "reconcile",
    "tuner/tuner_records.py",
)  # fmt: skip
"""Where reasons are given: each CamelCase literal there is a reason, or one of the words below."""

NO_REASONS = {
    # Condition types, and their values.
    "False", "Ready", "Reconciling", "Serving", "Stalled", "True", "Tuned", "Unknown", "WeightsReady",
    # Kinds, and types of Events.
    "Deployment", "Job", "MTPModel", "MTPTuningRun", "NetworkPolicy", "Normal", "PersistentVolumeClaim", "Pod",
    "PodDisruptionBudget", "ReplicaSet", "ResourceClaimTemplate", "Service", "Warning",
    # What Kubernetes says of its own objects; phases.
    "Complete", "ContainerCannotRun", "CreateContainerConfigError", "CreateContainerError", "DeadlineExceeded",
    "DisruptionTarget", "ErrImageNeverPull", "ErrImagePull", "Evicted", "FailedCreate", "FailureTarget",
    "ImagePullBackOff", "Insufficient", "InvalidImageName", "Pending", "PodScheduled", "Progressing", "ReplicaFailure",
    "RunContainerError", "SchedulingGated", "StartError", "Succeeded", "SuccessCriteriaMet", "Unschedulable",
    # What a table says in place of a reason.
    "Off",
    # Other enumerations: noise, output checks, latencies, whether slower levels are allowed.
    "Allow", "Assumed", "Forbid", "Measured", "NotChecked", "Own", "Passed", "RequestLatency", "Scored",
    "TimePerOutputToken", "TimeToFirstToken", "Unverified",
    # Names of Python types, of headers and of documents.
    "Authorization", "Counters", "DraftCounters", "MachineLoad", "Range", "Result", "Settings", "TrialResult",
}  # fmt: skip

CAMEL_CASE = re.compile(r"[A-Z][A-Za-z]*[a-z][A-Za-z]*")


def _sources(*places: str) -> Iterator[Path]:
    for place in places:
        path = PACKAGE / place
        yield from [path] if path.suffix else path.rglob("*.py")


def _literals(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and CAMEL_CASE.fullmatch(node.value):
            yield node.value


def _words_of_prompts(source: Path) -> bool:
    return source.name == "built_in.py"


def _in_code() -> dict[str, Path]:
    return {word: path for path in _sources(*PLACES) if not _words_of_prompts(path) for word in _literals(path)}


def test_every_reason_of_the_code_is_registered() -> None:
    unknown = {word: path for word, path in _in_code().items() if word not in REASONS and word not in NO_REASONS}
    assert not unknown, "add each to api/reasons, or to NO_REASONS here if it is none"


def test_every_registered_reason_is_in_the_code() -> None:
    assert not set(REASONS) - set(_in_code())


def test_the_list_of_other_words_has_none_too_many() -> None:
    assert not NO_REASONS - set(_in_code())


def test_whatever_is_given_as_a_reason_is_registered_wherever_it_stands() -> None:
    """By the name of the argument: a word that is a reason in one place may not hide behind its other meanings."""
    given = {
        value.value
        for path in _sources(".")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.keyword) and node.arg == "reason"
        for value in ast.walk(node.value)
        if isinstance(value, ast.Constant) and isinstance(value.value, str) and CAMEL_CASE.fullmatch(value.value)
    }
    assert given
    assert not given - set(REASONS)


def test_each_reason_is_in_one_group() -> None:
    assert sum(map(len, GROUPS.values())) == len(REASONS)


def test_each_entry_is_made_of_sentences() -> None:
    for one in REASONS.values():
        assert re.fullmatch(r"[A-Z][A-Za-z]{1,63}", one.name)
        assert one.where
        assert one.example
        assert all(text[0].isupper() and text.endswith(".") for text in (one.meaning, one.action)), one.name
