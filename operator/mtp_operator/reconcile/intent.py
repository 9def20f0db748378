"""What a model wants: derived once from its spec, and matched by everything that is decided about it."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mtp_operator.api.affinity import LABEL_LENGTH, LABEL_VALUE
from mtp_operator.api.model import MTPModel
from mtp_operator.api.model_status import ResolvedImages
from mtp_operator.api.run import MTPTuningRun, RunSettings, TrialState, run_name
from mtp_operator.api.spec import BLOCK_DRAFTERS
from mtp_operator.api.verdicts import CHOICES, VerdictType
from mtp_operator.engines import engine_for
from mtp_operator.resources.tuning_run import run_settings

from . import weights
from .observed import OperatorSettings
from .trial_conversion import UNKNOWN


@dataclass(frozen=True)
class Pinned:
    """A person has chosen n_spec: nothing is measured."""

    n_spec: int
    why: str


@dataclass(frozen=True)
class Off:
    """Nothing is measured, and nothing is drafted."""

    why: str


@dataclass(frozen=True)
class Tune:
    """n_spec is what this run finds."""

    run_name: str
    epoch: int
    """How many runs of the same settings and request were given up before it."""
    held: str | None = None
    """Why no trial may be made now; what the run has found already stands."""
    served: int | None = None
    """The n_spec that is served whatever the run finds; None where its choice is served."""


@dataclass(frozen=True)
class Refused:
    """The engine could not work with these settings: what is served stays as it is."""

    why: str


@dataclass(frozen=True)
class NotYet:
    """It cannot be said before the weights are there: their commit is part of what is measured."""

    why: str


Intent = Pinned | Off | Tune | Refused | NotYet


@dataclass(frozen=True)
class DesiredState:
    """What a model asks for, with the operator's defaults as they were when its spec was first seen."""

    images: ResolvedImages
    settings: RunSettings
    intent: Intent
    newer_image: str
    """The operator's default image of the engine now, where another one is in use."""

    @property
    def servable(self) -> RunSettings | None:
        """The settings, where a server could start with them."""
        return None if isinstance(self.intent, Refused | NotYet) else self.settings


def desired_state(model: MTPModel, settings: OperatorSettings, known_runs: Iterable[MTPTuningRun]) -> DesiredState:
    """What the model asks for.

    Args:
        model: the model.
        settings: the operator's.
        known_runs: all runs of this model's name.
    """
    images = _images(model, settings)
    fetched = weights.fetched(model)
    measured = run_settings(model, images.engine_image, images.bench_image, fetched or ())
    default = _engine_image(model, settings)
    return DesiredState(
        images=images,
        settings=measured,
        intent=intent(model, measured, known_runs, are_weights_there=fetched is not None),
        newer_image=default if default != images.engine_image else "",
    )


def intent(
    model: MTPModel, settings: RunSettings, known_runs: Iterable[MTPTuningRun] = (), *, are_weights_there: bool = True
) -> Intent:
    """What the model wants with these settings.

    Args:
        model: the model.
        settings: what it asks for, with images and weights.
        known_runs: all runs of this model's name.
        are_weights_there: whether the weights have been fetched, or need not be.
    """
    spec = model.spec
    if refusals := engine_for(settings.engine.type).refusals(settings):
        return Refused("; ".join(refusals))
    if not are_weights_there:
        return NotYet("the weights are not there yet")
    if refusal := _block_refusal(model):
        return Refused(refusal)
    if not spec.is_measured:
        n_spec = spec.speculation.n_spec
        if n_spec is None:
            return Off("tuning is disabled by spec.tuning.mode")
        return Pinned(n_spec, f"n_spec={n_spec} is pinned by spec.speculation.nSpec")
    desired, request = settings.request_hash(), spec.tuning.retune_request
    same = [run for run in known_runs if (run.spec.settings_hash, run.spec.retune_request) == (desired, request)]
    epoch = _epoch(model, same)
    held = "tuning is suspended by spec.tuning.suspend" if spec.tuning.suspend else None
    return Tune(run_name(model.metadata.name, desired, request, epoch), epoch, held, spec.stated_n_spec)


def _block_refusal(model: MTPModel) -> str | None:
    """Why this many tokens cannot be drafted at once, once the weights have said how many can."""
    speculation = model.spec.speculation
    if speculation.method not in BLOCK_DRAFTERS:
        return None
    size, n_spec = model.block_size, speculation.n_spec
    drafts = speculation.drafter or model.spec.model
    is_last_word = model.status.weights is not None or not drafts.is_fetched
    if size is None and model.spec.is_measured and is_last_word:
        return (
            f"spec.speculation.blockSize: must be set, for no config.json states block_size for {drafts.uri}: the most "
            "tokens that the drafter drafts at once"
        )
    if size is not None and n_spec is not None and n_spec > size:
        return (
            f"spec.speculation.nSpec: must be at most {size}, the block_size of the drafter's checkpoint, not {n_spec}"
        )
    return None


def fixed_n_spec(wanted: Intent) -> int | None:
    """The n_spec that needs no measurement; None where a run finds it, or nothing can be said."""
    match wanted:
        case Pinned(n_spec):
            return n_spec
        case Off():
            return 0
        case Tune(served=served):
            return served
        case Refused() | NotYet():
            return None


def chosen_n_spec(wanted: Intent, run: MTPTuningRun | None) -> int | None:
    """The n_spec to serve with; None before there is a choice, and where it cannot work.

    Args:
        wanted: what the model wants.
        run: the run that finds it, if it exists.
    """
    fixed, verdict = fixed_n_spec(wanted), run.status.verdict if run is not None else None
    if fixed is None and isinstance(wanted, Tune) and verdict is not None and verdict.type in CHOICES:
        return verdict.n_spec
    return fixed


def measured_product(wanted: Intent, run: MTPTuningRun | None) -> str | None:
    """The GPU product whose measurement has chosen to speculate; None where a person or nobody has chosen, or n=0.

    Args:
        wanted: what the model wants.
        run: the run that finds it, if it exists.
    """
    if fixed_n_spec(wanted) is not None or not chosen_n_spec(wanted, run):
        return None
    observed = run.status.observed if run is not None else None
    product = observed.gpu_product if observed is not None else UNKNOWN
    is_label = len(product) <= LABEL_LENGTH and re.fullmatch(LABEL_VALUE, product) is not None
    return product if is_label and product not in ("", UNKNOWN) else None


def why_no_trials(wanted: Intent) -> str | None:
    """Why nothing may be measured now; None where it may."""
    return wanted.held if isinstance(wanted, Tune) else wanted.why


def _images(model: MTPModel, settings: OperatorSettings) -> ResolvedImages:
    resolved, spec_hash = model.status.resolved, model.spec.images_hash()
    if resolved is not None and resolved.spec_hash == spec_hash:
        return resolved
    return ResolvedImages(
        spec_hash=spec_hash,
        engine_image=_engine_image(model, settings),
        bench_image=settings.bench_image,
    )


def _engine_image(model: MTPModel, settings: OperatorSettings) -> str:
    """Empty where neither the model nor the operator names one, which the engine refuses."""
    return model.spec.engine.image or settings.engine_images.get(model.spec.engine.type, "")


def has_other_pods(run: MTPTuningRun, model: MTPModel) -> bool:
    """Whether a run was made for other pods or another queue than the model names.

    It starts again then, unless measurements would be lost.
    """
    measured = any(trial.state is TrialState.MEASURED for trial in run.status.trials)
    desired = (model.spec.template.pod, model.spec.tuning.queue_name)
    return not measured and (run.spec.template, run.spec.queue_name) != desired


def _epoch(model: MTPModel, runs: Sequence[MTPTuningRun]) -> int:
    """The epoch of the newest of these runs, or the one after it if that was given up: what it has measured stays."""
    newest = max(runs, key=lambda run: run.spec.epoch, default=None)
    if newest is None:
        return 0
    verdict = newest.status.verdict
    given_up = verdict is not None and (
        verdict.type is VerdictType.SUPERSEDED or (verdict.type is VerdictType.FAILED and has_other_pods(newest, model))
    )
    return newest.spec.epoch + given_up
