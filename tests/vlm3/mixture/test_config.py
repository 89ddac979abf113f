"""Weights of recipes: multiplied, replaced one by one, and refused with advice."""

import math

import pytest

from vlm3.errors import ConfigError
from vlm3.mixture.config import MixtureConfig, MixtureSource, resolve_weights, scheduled_weights


def source(weight: float = 1.0, role: str = "train", clips: int = 10) -> MixtureSource:
    return MixtureSource(weight, role, clips)


def test_source_and_task_weights_are_multiplied_in_the_order_given() -> None:
    resolved = resolve_weights({"rooms": source(3), "street": source(0)}, {"depth": 2, "pose": 0.5})
    assert resolved == (
        (("rooms", "depth"), 6),
        (("rooms", "pose"), 1.5),
        (("street", "depth"), 0),
        (("street", "pose"), 0),
    )


def test_the_weight_of_a_component_replaces_the_product() -> None:
    config = MixtureConfig.parse({"weights": {"rooms/depth": 0.25, "a/b/pose": 0}}, "recipe")
    resolved = dict(resolve_weights({"rooms": source(), "a/b": source()}, {"depth": 1, "pose": 1}, config))
    assert resolved == {("rooms", "depth"): 0.25, ("rooms", "pose"): 1, ("a/b", "depth"): 1, ("a/b", "pose"): 0}


def test_evaluation_and_empty_sources_may_stand_by_without_weight() -> None:
    sources = {"rooms": source(), "ibims": source(0, "eval", 0), "empty": source(0, clips=0)}
    assert [weight for _, weight in resolve_weights(sources, {"depth": 1})] == [1, 0, 0]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"romos/depth": 1.0}, "unknown source 'romos'; did you mean 'rooms'"),
        ({"rooms/deph": 1.0}, "unknown task 'deph'; did you mean 'depth'"),
        ({"rooms": 1.0}, "expected source/task, e.g. rooms/depth"),
        ({"rooms/depth": -2.0}, "mixture.weights.rooms/depth: expected a finite number ≥ 0, found -2.0"),
        ({"ibims/depth": 1.0}, "'ibims/depth' has weight, but its source is marked eval"),
        ({"empty/depth": 1.0}, "'empty/depth' has weight, but its source has no training clips"),
        ({"rooms/depth": 0.0}, "draws nothing: give one of the sources rooms, ibims, empty a weight"),
    ],
)
def test_weights_of_components_that_cannot_be_drawn_are_refused(weights: dict[str, float], message: str) -> None:
    sources = {"rooms": source(), "ibims": source(0, "eval"), "empty": source(0, clips=0)}
    with pytest.raises(ConfigError, match=message):
        resolve_weights(sources, {"depth": 1}, MixtureConfig(weights=weights))


def schedule(*entries: tuple[int, dict[str, float]]) -> dict[str, object]:
    return {"schedule": [{"at_step": step, "weights": weights} for step, weights in entries]}


def test_a_schedule_becomes_positions_and_leaves_out_what_it_does_not_name() -> None:
    config = MixtureConfig.parse(schedule((10, {"rooms/depth": 0.2}), (25, {"street/depth": 0, "rooms/depth": 1})), "x")
    resolve_weights({"rooms": source(), "street": source()}, {"depth": 1}, config)
    names = ["rooms/depth", "street/depth"]
    assert scheduled_weights(config, names, 8) == ((80, (0.2, None)), (200, (1, 0)))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([(5, {"rooms/depth": 1.0}), (5, {"rooms/depth": 2.0})], "at_step 5 follows 5; expected ascending steps"),
        ([(0, {"rooms/depth": 1.0})], "mixture: schedule.0.at_step"),
        ([(1, {})], "schedule.0.weights"),
    ],
)
def test_schedules_out_of_order_are_refused(entries: list[tuple[int, dict[str, float]]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MixtureConfig.parse(schedule(*entries), "mixture")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            {"romos/depth": 1.0},
            r"mixture\.schedule\.0\.weights\.romos/depth: unknown source 'romos'; did you mean 'rooms'",
        ),
        ({"rooms/pose": 1.0}, "unknown task 'pose'; valid: depth"),
        ({"rooms/depth": -1.0}, r"mixture\.schedule\.0\.weights\.rooms/depth: expected a finite number ≥ 0, found -1"),
        ({"ibims/depth": 1.0}, "'ibims/depth' has weight, but its source is marked eval"),
        ({"empty/depth": 1.0}, "'empty/depth' has weight, but its source has no training clips"),
    ],
)
def test_weights_that_cannot_be_drawn_are_refused_in_schedules_too(weights: dict[str, float], message: str) -> None:
    sources = {"rooms": source(), "ibims": source(0, "eval"), "empty": source(0, clips=0)}
    config = MixtureConfig.parse(schedule((5, weights)), "mixture")
    with pytest.raises(ConfigError, match=message):
        resolve_weights(sources, {"depth": 1}, config)
    resolve_weights(
        sources, {"depth": 1}, MixtureConfig.parse(schedule((5, {"ibims/depth": 0, "rooms/depth": 1})), "x")
    )


def test_caps_name_components_and_are_above_zero() -> None:
    sources = {"rooms": source()}
    resolve_weights(sources, {"depth": 1}, MixtureConfig(max_epochs={"rooms/depth": 0.5}))
    with pytest.raises(
        ConfigError, match=r"mixture\.max_epochs\.room/depth: unknown source 'room'; did you mean 'rooms'"
    ):
        resolve_weights(sources, {"depth": 1}, MixtureConfig(max_epochs={"room/depth": 0.5}))
    for wrong in (0, -1, "4"):
        with pytest.raises(ConfigError, match=r"max_epochs\.rooms/depth"):
            MixtureConfig.parse({"max_epochs": {"rooms/depth": wrong}}, "mixture")


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_weights_that_are_no_shares_are_refused_by_name(weight: float) -> None:
    with pytest.raises(ConfigError, match=rf"sources\.rooms\.weight: expected a finite number ≥ 0, found {weight}"):
        resolve_weights({"rooms": source(weight)}, {"depth": 1})
    with pytest.raises(ConfigError, match=rf"tasks\.depth\.weight: .* found {weight}"):
        resolve_weights({"rooms": source()}, {"depth": weight})


def test_a_source_marked_eval_with_weight_of_its_own_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'ibims/depth'.*marked eval"):
        resolve_weights({"rooms": source(), "ibims": source(0.1, "eval")}, {"depth": 1})
