"""Proposes mixtures: points of the simplex, each chosen by the scores of the earlier ones."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning

from vlm3.errors import ConfigError, nearest
from vlm3.search.trials import Trial, TrialState
from vlm3.seeds import derive_seed

DIGITS = 4
"""Decimals of a proposed share: finer differences are not measurable, and people should be able to read the winner."""
SAME = 1e-3
"""Two mixtures whose shares differ by no more than this are the same."""


@dataclass(frozen=True, slots=True)
class MixtureSpace:
    """Shares of K sources, each at least `floor`, that sum to 1."""

    names: tuple[str, ...]
    given: tuple[float, ...]
    """The user's own mixture, the first proposal."""
    floor: float
    total: float
    """Sum of these sources' weights in the recipe, which every mixture keeps."""

    @classmethod
    def of(cls, recipe_weights: Mapping[str, float], vary: Sequence[str], floor: float) -> Self:
        """The space of mixtures of a recipe's sources.

        Args:
            recipe_weights: weight of every source of the recipe.
            vary: sources whose weights vary; none means all with a positive weight.
            floor: smallest share of each.

        Raises:
            ConfigError: fewer than two sources vary, one is unknown or named twice, the floor is too high, or all
                weights are 0.
        """
        names = tuple(vary) or tuple(name for name, weight in recipe_weights.items() if weight > 0)
        for name in names:
            if name not in recipe_weights:
                raise ConfigError(f"sources: the recipe has no source {name!r}{nearest(name, recipe_weights)}")
        if len(names) < 2 or len(set(names)) < len(names):
            raise ConfigError(f"sources: expected at least two different sources to weigh, found {', '.join(names)}")
        if floor * len(names) >= 1:
            raise ConfigError(
                f"floor {floor} for {len(names)} sources leaves nothing to vary: below {1 / len(names):.3f}"
            )
        weights = np.array([recipe_weights[name] for name in names], np.float64)
        if not weights.sum() > 0:
            raise ConfigError(
                f"sources {', '.join(names)} have weight 0 in the recipe: give them the share that they are to divide"
            )
        free = np.maximum(weights / weights.sum() - floor, 0)
        given = floor + (1 - floor * len(names)) * free / free.sum()
        return cls(names, _rounded(given), floor, float(weights.sum()))

    def recipe_weights(self, weights: Sequence[float]) -> dict[str, float]:
        """Weights for the recipe: the given shares of the varied sources, times the sum of their weights there."""
        return {name: round(self.total * share, 6) for name, share in zip(self.names, weights, strict=True)}

    def propose(self, trials: Sequence[Trial], seed: int, mode: Literal["max", "min"]) -> tuple[float, ...]:
        """The next mixture: first the given one, then the uniform one, then by the tree-structured Parzen estimator.

        A pure function of its arguments, so that a resumed search proposes what an uninterrupted one would have.

        Args:
            trials: all trials so far; running ones are included, so that they are not proposed again.
            seed: seed of the search.
            mode: whether a greater or a smaller score is better.
        """
        uniform = _rounded(np.full(len(self.names), 1 / len(self.names)))
        for first in (self.given, uniform):
            if not any(np.allclose(trial.weights, first, rtol=0, atol=SAME) for trial in trials):
                return first
        axes: dict[str, BaseDistribution] = {f"u{n}": FloatDistribution(0.0, 1.0) for n in range(len(self.names) - 1)}
        study = optuna.study.create_study(
            sampler=_sampler(derive_seed(seed, "proposal", len(trials)) % 2**32, len(self.names)),
            direction="maximize" if mode == "max" else "minimize",
        )
        for trial in trials:
            units = (float(value) for value in self._units(trial.weights))
            study.add_trial(
                optuna.trial.create_trial(
                    state=_OPTUNA_STATE[trial.state],
                    params=dict(zip(axes, units, strict=True)),
                    distributions=axes,
                    value=trial.score,
                )
            )
        asked = study.ask(axes)
        return self._weights(np.array([asked.params[axis] for axis in axes]))

    def _weights(self, units: NDArray[np.float64]) -> tuple[float, ...]:
        """Shares of a point of the unit cube; points uniform in the cube become uniform on the simplex.

        Stick-breaking: of what is left, source i takes a Beta(1, K−1−i) share, computed by its quantile function.
        """
        count = len(self.names)
        taken = 1 - (1 - units) ** (1 / np.arange(count - 1, 0, -1))
        left = np.cumprod(np.concatenate([[1.0], 1 - taken]))
        free = left * np.concatenate([taken, [1.0]])
        return _rounded(self.floor + (1 - self.floor * count) * free)

    def _units(self, weights: Sequence[float]) -> NDArray[np.float64]:
        """The point of the unit cube with these shares: inverse of `_weights`."""
        count = len(self.names)
        free = np.maximum(np.asarray(weights, np.float64) - self.floor, 0)
        free /= free.sum()
        left = np.maximum(1 - np.concatenate([[0.0], np.cumsum(free[:-1])]), free)[:-1]
        taken = np.divide(free[:-1], left, out=np.zeros(count - 1), where=left > 0)
        units: NDArray[np.float64] = 1 - (1 - taken) ** np.arange(count - 1, 0, -1)
        return units.clip(0.0, 1.0)


_OPTUNA_STATE = {
    TrialState.RUNNING: optuna.trial.TrialState.RUNNING,
    TrialState.FINISHED: optuna.trial.TrialState.COMPLETE,
    TrialState.FAILED: optuna.trial.TrialState.FAIL,
}
logging.getLogger("optuna").setLevel(logging.WARNING)


def _sampler(seed: int, sources: int) -> optuna.samplers.TPESampler:
    """TPE sampler that starts to model early: a trial is a whole training, so tens of them are many."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=seed, multivariate=True, constant_liar=True, n_startup_trials=max(4, sources + 1)
        )


def _rounded(weights: NDArray[np.float64]) -> tuple[float, ...]:
    """Shares rounded to four decimals that still sum to 1; the largest takes the remainder."""
    rounded = np.round(weights, DIGITS)
    rounded[np.argmax(rounded)] += 1 - rounded.sum()
    return tuple(float(value) for value in np.round(rounded, DIGITS))
