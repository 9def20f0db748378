"""optuna's TPE as a baseline of a replay: a general optimiser that knows nothing of speculation."""

from .replay import Curve, Noise, Run, fastest, log_speed

STARTUP_BOOTS = 3
"""Random boots before the sampler models anything; its default of ten would make it a random search here."""


class OptunaIsMissingError(RuntimeError):
    """optuna, which only this baseline needs, is not installed."""


def tpe(curve: Curve, repeat: int, noise: Noise, boots: int) -> Run:
    """Let TPE choose the boots, then choose the n with the highest mean.

    Raises:
        OptunaIsMissingError: optuna is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise OptunaIsMissingError("the TPE baseline needs optuna: pip install optuna") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    choices = sorted(curve.points)
    trace: list[int] = []

    def objective(trial: optuna.Trial) -> float:
        n = choices[trial.suggest_int("n_spec", 0, len(choices) - 1)]
        trace.append(n)
        return log_speed(curve.boot(n, trace.count(n) - 1, repeat, noise))

    sampler = optuna.samplers.TPESampler(seed=noise.seed + repeat, n_startup_trials=STARTUP_BOOTS)
    optuna.create_study(direction="maximize", sampler=sampler).optimize(objective, n_trials=boots)
    return fastest(curve, repeat, noise, trace)
