"""The command line of an engine that was measured, as it is outside the operator's pods."""

from itertools import pairwise
from typing import Final

from mtp_operator.api.fetch import hub_parts
from mtp_operator.api.run import MTPTuningRun
from mtp_operator.api.spec import EngineType
from mtp_operator.api.weights_source import WeightsSource
from mtp_operator.engines import NO_LOG_FILE, engine_for
from mtp_operator.resources.trial_job import served_name
from mtp_operator.resources.weights_volumes import sources

_BELONG_TO_A_POD: Final = frozenset({"--offline", "--no-ui"})
"""Switches that make sense only where everything lies on a volume, behind a Service."""


class ExportError(ValueError):
    """There is nothing to export; the message says why."""


def exported_arguments(run: MTPTuningRun, n_spec: int) -> list[str]:
    """The arguments after the engine's entry point, with its model first where the engine is vLLM.

    As measured, but with repositories by their names: nothing of the operator's volumes is there elsewhere.
    """
    engine = engine_for(run.spec.engine.type, NO_LOG_FILE)
    stated = [run.spec.model, *([run.spec.speculation.drafter] if run.spec.speculation.drafter else [])]
    places = [_place(source, path.container_path) for source, path in zip(stated, sources(run.spec), strict=True)]
    words = list(
        engine.arguments(run.spec, n_spec, served_name(run), places[0], places[1] if len(places) > 1 else None)
    )
    if run.spec.engine.type is not EngineType.LLAMA_CPP:
        revision = run.spec.model.revision
        return [*words, *([f"--revision={revision}"] if revision and run.spec.model.is_fetched else [])]
    return _of_the_hub(
        run.spec.model, [word for word in without_flag(words, "--log-file") if word not in _BELONG_TO_A_POD]
    )


def _place(source: WeightsSource, path: str) -> str:
    return hub_parts(source.uri)[0] if source.is_fetched and not hub_parts(source.uri)[1] else path


def _of_the_hub(model: WeightsSource, words: list[str]) -> list[str]:
    if not model.is_fetched:
        return words
    repository, file = hub_parts(model.uri)
    return ["--hf-repo", repository, "--hf-file", file, *without_flag(without_flag(words, "--model"), "--mmproj")]


def without_flag(words: list[str], flag: str) -> list[str]:
    """Without a flag and the value that follows it."""
    dropped = {index for index, (one, _) in enumerate(pairwise(words)) if one == flag}
    return [word for index, word in enumerate(words) if index not in dropped and index - 1 not in dropped]
