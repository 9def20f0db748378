"""Mistakes in `spec.speculation` and `spec.tuning`, and what the API server says of them."""

from __future__ import annotations

from typing import Any

from tests.documents import TTFT, limit, model

TUNING_MISTAKES: dict[str, tuple[dict[str, Any], str, str]] = {
    "compared first, and never tried": (
        model(("spec.tuning", {"maxNSpec": 3, "firstNSpec": 4})),
        "spec.tuning.firstNSpec",
        "must be at most maxNSpec",
    ),
    "compared first, above the default maxNSpec": (
        model(("spec.tuning.firstNSpec", 9)),
        "spec.tuning.firstNSpec",
        "must be at most maxNSpec (default 8)",
    ),
    "a queue, while servers may be stopped": (
        model(("spec.tuning", {"queueName": "gpus", "disruption": "Allowed"})),
        "spec.tuning.disruption",
        "must be Never where queueName is set",
    ),
    "a queue that no label can name": (
        model(("spec.tuning.queueName", "GPUs of the team")),
        "spec.tuning.queueName",
        "must be the name of a LocalQueue",
    ),
    "unknown method": (
        model(("spec.speculation.method", "Medusa")),
        "spec.speculation.method",
        '"MTP", "DraftModel", "Eagle", "Eagle3", "DFlash", "DSpark", "NGram", "Suffix"',
    ),
    "no drafter": (
        model(("spec.speculation.method", "DraftModel")),
        "spec.speculation.drafter",
        "must be set where method is DraftModel, Eagle, Eagle3 or DFlash",
    ),
    "method that llama.cpp does not have": (
        model(("spec.speculation.method", "Suffix"), engine="LlamaCpp"),
        "spec.speculation.method",
        "must be one of MTP, DraftModel, Eagle3, DFlash, DSpark, NGram where engine.type is LlamaCpp",
    ),
    "speculation of the other engine": (
        model(("spec.speculation.vllm", {"moeBackend": "triton"}), engine="LlamaCpp"),
        "spec.speculation.vllm",
        "may be set only where engine.type is VLLM",
    ),
    "speculation of the one engine": (
        model(("spec.speculation.llamaCpp", {"pMinMilli": 750})),
        "spec.speculation.llamaCpp",
        "may be set only where engine.type is LlamaCpp",
    ),
    "longer matches at least than at most": (
        model(("spec.speculation", {"method": "NGram", "vllm": {"promptLookupMin": 5}})),
        "spec.speculation.vllm.promptLookupMin",
        "must be at most promptLookupMax (default 4)",
    ),
    "no head": (
        model(("spec.speculation.method", "Eagle3")),
        "spec.speculation.drafter",
        "must be set where method is DraftModel, Eagle, Eagle3 or DFlash",
    ),
    "drafter that nobody asks": (
        model(("spec.speculation", {"method": "NGram", "drafter": {"uri": "pvc://weights/small"}})),
        "spec.speculation.drafter",
        "must be left out where method is NGram or Suffix",
    ),
    "drafter without a scheme": (
        model(("spec.speculation.drafter.uri", "drafter")),
        "spec.speculation.drafter.uri",
        "must start with hf://, pvc:// or oci://",
    ),
    "block of a drafter that has none": (
        model(("spec.speculation.blockSize", 8)),
        "spec.speculation.blockSize",
        "may be set only where method is DFlash or DSpark",
    ),
    "drafter of blocks whose size nobody knows": (
        model(("spec.speculation", {"method": "DFlash", "drafter": {"uri": "pvc://weights/dflash"}})),
        "spec.speculation.blockSize",
        "must be set where method is DFlash or DSpark and the drafter's weights are not a hub repository",
    ),
    "pin above the block": (
        model(("spec.speculation", {"method": "DSpark", "blockSize": 5, "nSpec": 6})),
        "spec.speculation.nSpec",
        "must be at most blockSize",
    ),
    "pin too large": (model(("spec.speculation.nSpec", 17)), "spec.speculation.nSpec", "less than or equal to 16"),
    "negative pin": (model(("spec.speculation.nSpec", -1)), "spec.speculation.nSpec", "greater than or equal to 0"),
    "unknown mode": (model(("spec.tuning.mode", "Manual")), "spec.tuning.mode", '"Auto", "Advisory", "Disabled"'),
    "negative maxNSpec": (model(("spec.tuning.maxNSpec", -1)), "spec.tuning.maxNSpec", "greater than or equal to 1"),
    "huge maxNSpec": (model(("spec.tuning.maxNSpec", 10**6)), "spec.tuning.maxNSpec", "less than or equal to 16"),
    "maxNSpec as text": (model(("spec.tuning.maxNSpec", "four")), "spec.tuning.maxNSpec", "must be of type integer"),
    "no output": (
        model(("spec.tuning.workload.outputTokens", 0)),
        "spec.tuning.workload.outputTokens",
        "greater than or equal to 16",
    ),
    "output longer than the default context": (
        model(("spec.tuning.workload.outputTokens", 4000), engine="LlamaCpp"),
        "spec.tuning.workload.outputTokens",
        "must be at most the context less 512 tokens for the prompt",
    ),
    "output longer than anything": (
        model(("spec.tuning.workload.outputTokens", 2**63 - 1)),
        "spec.tuning.workload.outputTokens",
        "must be at most the context less 512 tokens for the prompt",
    ),
    "output longer than llama.cpp's context": (
        model(
            ("spec.engine.llamaCpp.contextSize", 2048), ("spec.tuning.workload.outputTokens", 1537), engine="LlamaCpp"
        ),
        "spec.tuning.workload.outputTokens",
        "engine.llamaCpp.contextSize",
    ),
    "too many levels": (
        model(("spec.tuning.workload.levels", [{"concurrency": number} for number in range(1, 6)])),
        "spec.tuning.workload.levels",
        "must have at most 4 items",
    ),
    "the same level twice": (
        model(("spec.tuning.workload.levels", [{"concurrency": 1}, {"concurrency": 1, "weight": 2}])),
        "spec.tuning.workload.levels[1]",
        "Duplicate value",
    ),
    "no requests in flight": (
        model(("spec.tuning.workload.levels", [{"concurrency": 0}])),
        "spec.tuning.workload.levels[0].concurrency",
        "greater than or equal to 1",
    ),
    "more requests than vLLM decodes together": (
        model(("spec.engine.vllm.maxNumSeqs", 4), ("spec.tuning.workload.levels", [{"concurrency": 5}])),
        "spec.tuning.workload.levels",
        "engine.vllm.maxNumSeqs (at most 1024)",
    ),
    "more requests than llama.cpp decodes together": (
        model(("spec.tuning.workload.levels", [{"concurrency": 2}]), engine="LlamaCpp"),
        "spec.tuning.workload.levels",
        "engine.llamaCpp.parallel (default 1)",
    ),
    "prompts of nowhere": (
        model(("spec.tuning.workload.prompts", {})),
        "spec.tuning.workload.prompts",
        "must have exactly one of builtIn, configMap and pvc",
    ),
    "prompts of two places": (
        model(
            ("spec.tuning.workload.prompts.builtIn", ["Code"]),
            ("spec.tuning.workload.prompts.pvc", {"claim": "own", "path": "a.jsonl"}),
        ),
        "spec.tuning.workload.prompts",
        "must have exactly one of builtIn, configMap and pvc",
    ),
    "no category": (
        model(("spec.tuning.workload.prompts.builtIn", [])),
        "spec.tuning.workload.prompts.builtIn",
        "at least 1 items",
    ),
    "unknown category": (
        model(("spec.tuning.workload.prompts.builtIn", ["Poetry"])),
        "spec.tuning.workload.prompts.builtIn[0]",
        '"Code", "Chat", "Summarize", "JSON"',
    ),
    "the same category twice": (
        model(("spec.tuning.workload.prompts.builtIn", ["Code", "Code"])),
        "spec.tuning.workload.prompts.builtIn[1]",
        "Duplicate value",
    ),
    "ConfigMap without a key": (
        model(("spec.tuning.workload.prompts.configMap", {"name": "own"})),
        "spec.tuning.workload.prompts.configMap.key",
        "Required value",
    ),
    "ConfigMap in upper case": (
        model(("spec.tuning.workload.prompts.configMap", {"name": "Own", "key": "a.jsonl"})),
        "spec.tuning.workload.prompts.configMap.name",
        "must be the name of a ConfigMap",
    ),
    "key with a slash": (
        model(("spec.tuning.workload.prompts.configMap", {"name": "own", "key": "a/b.jsonl"})),
        "spec.tuning.workload.prompts.configMap.key",
        "must be a key of a ConfigMap",
    ),
    "claim in upper case": (
        model(("spec.tuning.workload.prompts.pvc", {"claim": "Own", "path": "a.jsonl"})),
        "spec.tuning.workload.prompts.pvc.claim",
        "must be the name of a PersistentVolumeClaim",
    ),
    "prompts that leave the claim": (
        model(("spec.tuning.workload.prompts.pvc", {"claim": "own", "path": "../a.jsonl"})),
        "spec.tuning.workload.prompts.pvc.path",
        "must be a file below the volume's root",
    ),
    "absolute path of prompts": (
        model(("spec.tuning.workload.prompts.pvc", {"claim": "own", "path": "/a.jsonl"})),
        "spec.tuning.workload.prompts.pvc.path",
        "must be a file below the volume's root",
    ),
    "unknown sampling": (
        model(("spec.tuning.workload.sampling.mode", "Beam")),
        "spec.tuning.workload.sampling.mode",
        '"Greedy", "ModelDefaults", "Custom"',
    ),
    "custom sampling without a temperature": (
        model(("spec.tuning.workload.sampling", {"mode": "Custom", "topK": 20})),
        "spec.tuning.workload.sampling.temperatureMilli",
        "must be set where mode is Custom",
    ),
    "temperature of greedy sampling": (
        model(("spec.tuning.workload.sampling.temperatureMilli", 700)),
        "spec.tuning.workload.sampling.temperatureMilli",
        "may be set only where mode is Custom",
    ),
    "nucleus of the model's defaults": (
        model(("spec.tuning.workload.sampling", {"mode": "ModelDefaults", "topPMilli": 950})),
        "spec.tuning.workload.sampling.topPMilli",
        "may be set only where mode is Custom",
    ),
    "top k of greedy sampling": (
        model(("spec.tuning.workload.sampling.topK", 20)),
        "spec.tuning.workload.sampling.topK",
        "may be set only where mode is Custom",
    ),
    "temperature in degrees": (
        model(("spec.tuning.workload.sampling", {"mode": "Custom", "temperatureMilli": 2001})),
        "spec.tuning.workload.sampling.temperatureMilli",
        "less than or equal to 2000",
    ),
    "unknown objective": (
        model(("spec.tuning.objective.maximize", "Latency")),
        "spec.tuning.objective.maximize",
        '"OutputThroughput", "Interactivity"',
    ),
    "limit at a level that is not measured": (
        model(
            ("spec.tuning.objective.constraints", [limit(concurrency=4)]),
            ("spec.tuning.workload.levels", [{"concurrency": 1}]),
        ),
        "spec.tuning.objective.constraints",
        "must have no concurrency that is not among workload.levels",
    ),
    "unknown metric": (
        model(("spec.tuning.objective.constraints", [limit(metric="P90TimeToFirstToken")])),
        "spec.tuning.objective.constraints[0].metric",
        '"P95TimeToFirstToken"',
    ),
    "limit of nothing": (
        model(("spec.tuning.objective.constraints", [limit(maxMilliseconds=0)])),
        "spec.tuning.objective.constraints[0].maxMilliseconds",
        "greater than or equal to 1",
    ),
    "the same limit twice": (
        model(("spec.tuning.objective.constraints", [limit(), limit(maxMilliseconds=900)])),
        "spec.tuning.objective.constraints[1]",
        "Duplicate value",
    ),
    "too many limits": (
        model(
            (
                "spec.tuning.objective.constraints",
                [limit(metric=f"P{share}{name}") for share in (50, 95, 99) for name in ("RequestLatency", TTFT)],
            )
        ),
        "spec.tuning.objective.constraints",
        "must have at most 4 items",
    ),
    "no trials": (model(("spec.tuning.budget.maxTrials", 0)), "spec.tuning.budget.maxTrials", "than or equal to 1"),
}
