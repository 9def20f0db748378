"""The parts of a spec that an MTPModel states and an MTPTuningRun keeps: model, engine, GPU, speculation, workload."""

from .accelerator import AcceleratorSpec, Allocation, Architecture
from .engine_spec import FLOORS, MEMBERS, EngineSpec, EngineType, EnvironmentVariable, ExtraArgument
from .model_source import ModelSource
from .objective import Budget, LatencyConstraint, LatencyMetric, Maximize, Objective, SlowerLevels
from .prompts_spec import ClaimPath, ConfigMapKey, PromptCategory, Prompts
from .sampling_spec import Sampling, SamplingMode
from .speculation import (
    BLOCK_DRAFTERS,
    NEED_DRAFTER,
    Drafter,
    SpeculationMethod,
    SpeculationMethodSpec,
    SpeculationSpec,
)
from .tuning import Disruption, QueueName, TuningMode, TuningSpec
from .workload import DEFAULT_CONCURRENCY, PROMPT_RESERVE_TOKENS, Level, Workload

__all__ = [
    "BLOCK_DRAFTERS",
    "DEFAULT_CONCURRENCY",
    "FLOORS",
    "MEMBERS",
    "NEED_DRAFTER",
    "PROMPT_RESERVE_TOKENS",
    "AcceleratorSpec",
    "Allocation",
    "Architecture",
    "Budget",
    "ClaimPath",
    "ConfigMapKey",
    "Disruption",
    "Drafter",
    "EngineSpec",
    "EngineType",
    "EnvironmentVariable",
    "ExtraArgument",
    "LatencyConstraint",
    "LatencyMetric",
    "Level",
    "Maximize",
    "ModelSource",
    "Objective",
    "PromptCategory",
    "Prompts",
    "QueueName",
    "Sampling",
    "SamplingMode",
    "SlowerLevels",
    "SpeculationMethod",
    "SpeculationMethodSpec",
    "SpeculationSpec",
    "TuningMode",
    "TuningSpec",
    "Workload",
]
