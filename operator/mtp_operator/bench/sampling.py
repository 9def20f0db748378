"""Sampling as it is sent with a request."""

from collections.abc import Mapping

from mtp_operator.api.spec import Sampling, SamplingMode


def sampling_fields(sampling: Sampling, seed: int, neutral: Mapping[str, float]) -> Mapping[str, float]:
    """Fields of a completion request that make it sample as stated.

    What Greedy and Custom leave out is sent as the value that changes nothing: servers and models differ in defaults.
    ModelDefaults sends nothing, as clients do.

    Args:
        sampling: of the workload.
        seed: of this request.
        neutral: the values that change nothing, under the server's names (`Dialect.neutral_sampling_fields`).
    """
    match sampling.mode:
        case SamplingMode.GREEDY:
            return {"seed": seed, **neutral, "temperature": 0}
        case SamplingMode.MODEL_DEFAULTS:
            return {"seed": seed}
        case SamplingMode.CUSTOM:
            return {
                "seed": seed,
                **neutral,
                "temperature": _share(sampling.temperature_milli, 0),
                "top_p": _share(sampling.top_p_milli, 1000),
                "top_k": sampling.top_k or 0,
            }


def _share(thousandths: int | None, default: int) -> float:
    return (default if thousandths is None else thousandths) / 1000
