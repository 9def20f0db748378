"""Sampling as it is sent with a request."""

from collections.abc import Mapping

from mtp_operator.api.spec import Sampling, SamplingMode


def sampling_fields(sampling: Sampling, seed: int) -> Mapping[str, float]:
    """Fields of a completion request that make it sample as stated.

    What Custom leaves out is sent as the value that changes nothing: the engines' own defaults differ (llama-server
    would cut at top_k 40 and min_p 0.05).

    Args:
        sampling: of the workload.
        seed: of this request.
    """
    match sampling.mode:
        case SamplingMode.GREEDY:
            return {"seed": seed, "temperature": 0}
        case SamplingMode.MODEL_DEFAULTS:
            return {"seed": seed}
        case SamplingMode.CUSTOM:
            return {
                "seed": seed,
                "temperature": _share(sampling.temperature_milli, 0),
                "top_p": _share(sampling.top_p_milli, 1000),
                "top_k": sampling.top_k or 0,
                "min_p": 0,
            }


def _share(thousandths: int | None, default: int) -> float:
    return (default if thousandths is None else thousandths) / 1000
