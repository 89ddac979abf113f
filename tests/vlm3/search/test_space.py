"""Proposals lie on the simplex, start with what the user gave, and find a known optimum."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm3.errors import ConfigError
from vlm3.search.space import MixtureSpace
from vlm3.search.trials import Trial, TrialState


def space(count: int, floor: float = 0.0) -> MixtureSpace:
    return MixtureSpace.of({f"s{n}": 1.0 + n for n in range(count)}, (), floor)


def play(searched: MixtureSpace, objective, trials: int, seed: int = 0, mode="max") -> list[Trial]:
    known: list[Trial] = []
    for number in range(trials):
        weights = searched.propose(known, seed, mode)
        known.append(Trial(number, weights, TrialState.FINISHED, objective(np.array(weights))))
    return known


simplex_points = st.integers(2, 8).flatmap(
    lambda count: st.lists(st.floats(0.001, 1.0), min_size=count, max_size=count).map(
        lambda parts: tuple(np.array(parts) / np.sum(parts))
    )
)


@given(simplex_points, st.floats(0.0, 0.1))
def test_units_and_weights_are_inverse(point: tuple[float, ...], floor: float):
    searched = space(len(point), floor)
    weights = floor + (1 - floor * len(point)) * np.array(point)
    np.testing.assert_allclose(searched._weights(searched._units(weights)), weights, atol=len(point) * 1e-4)


@given(st.integers(2, 8), st.floats(0.0, 0.1), st.data())
def test_every_point_of_the_unit_cube_is_a_mixture_above_the_floor(count: int, floor: float, data: st.DataObject):
    units = data.draw(st.lists(st.floats(0, 1), min_size=count - 1, max_size=count - 1))
    weights = np.array(space(count, floor)._weights(np.array(units)))
    assert abs(weights.sum() - 1) < 1e-9
    assert weights.min() >= floor - 5e-4


def test_uniform_units_are_uniform_on_the_simplex():
    """Each share of a uniform point of the simplex is Beta(1, K−1): mean 1/K, variance (K−1)/(K²(K+1))."""
    count = 4
    units = np.random.default_rng(0).uniform(size=(20_000, count - 1))
    weights = np.array([space(count)._weights(unit) for unit in units])
    np.testing.assert_allclose(weights.mean(0), 1 / count, atol=0.006)
    np.testing.assert_allclose(weights.var(0), (count - 1) / (count**2 * (count + 1)), rtol=0.05)


def test_the_users_mixture_comes_first_and_the_uniform_second():
    searched = MixtureSpace.of({"a": 3, "b": 1}, (), 0.02)
    first, second, third = play(searched, lambda _: 0.0, 3)
    assert first.weights == (0.75, 0.25)
    assert second.weights == (0.5, 0.5)
    assert third.weights not in (first.weights, second.weights)


def test_a_uniform_recipe_is_not_tried_twice():
    known = play(MixtureSpace.of(dict.fromkeys("abcdef", 1.0), (), 0.0), lambda _: 0.0, 2)
    assert np.abs(np.array(known[0].weights) - np.array(known[1].weights)).max() > 0.01


def test_a_given_share_below_the_floor_is_raised_to_it():
    assert MixtureSpace.of({"a": 1.0, "b": 0.0, "c": 1.0}, ("a", "b", "c"), 0.1).given == (0.45, 0.1, 0.45)


def test_varied_sources_divide_what_they_had_and_leave_the_others_alone():
    searched = MixtureSpace.of({"a": 2.0, "fixed": 5.0, "b": 1.0}, ("a", "b"), 0.0)
    assert searched.recipe_weights((0.25, 0.75)) == {"a": 0.75, "b": 2.25}


def test_by_default_all_sources_with_weight_vary():
    assert MixtureSpace.of({"a": 2.0, "eval-only": 0.0, "b": 1.0}, (), 0.0).names == ("a", "b")


@pytest.mark.parametrize(
    ("weights", "vary", "floor", "message"),
    [
        ({"rooms": 1.0, "studios": 1.0}, ("rooms", "studois"), 0.0, "no source 'studois'; did you mean 'studios'"),
        ({"rooms": 1.0}, (), 0.0, "at least two different sources"),
        ({"rooms": 1.0, "studios": 1.0}, ("rooms", "rooms"), 0.0, "at least two different sources"),
        (dict.fromkeys("abcde", 1.0), (), 0.2, "leaves nothing to vary: below 0.200"),
        ({"a": 0.0, "b": 0.0, "c": 1.0}, ("a", "b"), 0.0, "have weight 0 in the recipe"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(weights, vary, floor, message: str):
    with pytest.raises(ConfigError, match=message):
        MixtureSpace.of(weights, vary, floor)


def test_the_same_history_gives_the_same_proposal_and_another_seed_another():
    searched = space(3, 0.02)
    known = play(searched, lambda w: float(w[0]), 6)
    assert searched.propose(known, 0, "max") == searched.propose(list(known), 0, "max")
    assert searched.propose(known, 0, "max") != searched.propose(known, 1, "max")


def test_running_trials_keep_their_mixture_to_themselves_and_failed_ones_teach_nothing_wrong():
    searched = space(2)
    known = [Trial(0, searched.propose([], 0, "max"))]
    known.append(Trial(1, searched.propose(known, 0, "max"), TrialState.FAILED, error="no data"))
    for number in range(2, 8):
        known.append(Trial(number, searched.propose(known, 0, "max")))
    shares = sorted(trial.weights[0] for trial in known)
    assert min(np.diff(shares)) > 0


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("target", [(0.8, 0.2), (0.6, 0.3, 0.1)], ids=["two", "three"])
def test_the_search_comes_close_to_a_known_optimum(target: tuple[float, ...], mode: str):
    """Mean over seeds of half the L1 distance; random search of 20 trials stays at 0.08 for three sources."""
    sign = 1.0 if mode == "max" else -1.0

    def objective(weights: np.ndarray) -> float:
        return sign * (0.7 - 0.3 * float(np.sum((np.sqrt(weights) - np.sqrt(target)) ** 2)))

    distances = []
    for seed in range(4):
        known = play(space(len(target)), objective, 20, seed, mode)
        best = max(known, key=lambda trial: sign * trial.score)
        distances.append(np.abs(np.array(best.weights) - target).sum() / 2)
    assert np.mean(distances) < 0.06


@settings(max_examples=20)
@given(st.integers(2, 6), st.integers(0, 2**31))
def test_proposals_of_any_search_are_valid_mixtures(count: int, seed: int):
    for trial in play(space(count, 0.03), lambda w: float(-w[0]), 9, seed):
        assert abs(sum(trial.weights) - 1) < 1e-9 and min(trial.weights) >= 0.03 - 5e-4
