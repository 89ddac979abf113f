"""Answers without a look at the images."""

import time
from dataclasses import replace

import numpy as np
import pytest

from tests.answer_tables import correspondence_answers, depth_answers, object_answers, pose_answers
from vlm3.geometry.rotation import YawPitchRoll
from vlm3.metrics.relative import length_right
from vlm3.tasks.depth.table import DepthTable

NAN = float("nan")


def test_the_best_constant_is_chosen_for_z_and_ray_apart() -> None:
    table = depth_answers([2.0, 2.1, 2.2, 9.0], [NAN] * 4)
    table = replace(table, true_m=table.true_m * (1, 1.5))
    constant = table.baselines()["best constant"]
    said = constant.predicted_m  # type: ignore[attr-defined]
    assert (said == said[0]).all() and said[0, 1] == pytest.approx(1.5 * said[0, 0])
    assert (np.maximum(said[:3] / table.true_m[:3], table.true_m[:3] / said[:3]) < 1.25).all()
    assert set(constant.status) == {"ok"}  # type: ignore[attr-defined]


def test_the_depth_of_a_row_comes_from_other_images_only() -> None:
    table = depth_answers([1.0, 3.0, 5.0, 50.0, 8.0], [NAN] * 5, ["a", "b", "c", "d", "d"])
    heights = np.array([[0, 10], [0, 10], [0, 10], [0, 10], [0, 79]], np.float64)
    found = replace(table, point_px=heights).baselines()["depth of the row"].predicted_m[:, 0]
    assert found.tolist()[:4] == [5.0, 5.0, 3.0, 3.0], "medians of the band without the own image"
    assert found[4] == 3.0, "nobody else has this band: the median of all others"
    changed = replace(table, point_px=heights, true_m=table.true_m * [[7], [1], [1], [1], [1]]).baselines()[
        "depth of the row"
    ]
    assert changed.predicted_m[0, 0] == 5.0


def test_a_single_image_has_only_itself() -> None:
    table = depth_answers([1.0, 3.0], [NAN] * 2, ["a", "a"])
    assert table.baselines()["depth of the row"].predicted_m[:, 0].tolist() == [2.0, 2.0]


def test_the_pixel_is_copied_in_proportion() -> None:
    copied = correspondence_answers([(1.0, 1.0)], [(NAN, NAN)]).baselines()["copy the pixel"]
    # (10 + ½) / 100 · 200 − ½ and (20 + ½) / 50 · 100 − ½
    assert copied.predicted2_px.tolist() == [[20.5, 40.5]]  # type: ignore[attr-defined]


def test_the_identity_moves_forward() -> None:
    turns = [YawPitchRoll(10, 20, 30), YawPitchRoll(0, 0, 0)]
    table = pose_answers(turns, turns).baselines()["identity, forward"]
    assert (table.predicted_cam1_R_cam2 == np.eye(3)).all()  # type: ignore[attr-defined]
    assert table.predicted_direction.tolist() == [[0, 0, 1]] * 2  # type: ignore[attr-defined]
    assert table.predicted_distance_m.tolist() == [2, 2]  # type: ignore[attr-defined]
    relative = pose_answers(turns, turns, metric=False).baselines()["identity, forward"]
    assert np.isnan(relative.predicted_distance_m).all()  # type: ignore[attr-defined]
    assert relative.status[:, 3].tolist() == ["not asked"] * 2  # type: ignore[attr-defined]


def test_objects_get_the_answer_that_is_right_most_often() -> None:
    rows = [("left", "qualitative", value, NAN) for value in (1.0, 0.0, 1.0)]
    rows += [("width", "length", value, NAN) for value in (1.0, 1.1, 1.2, 9.0)]
    # Nearby hours count: 4 is right three times, 12 twice.
    rows += [("direction", "clock", value, NAN) for value in (12.0, 12.0, 3.0, 4.0, 5.0)]
    rows += [("distance", "length", value, NAN) for value in (0.0, 0.0, 5.0)]
    rows += [("height", "length", value, NAN) for value in (1.0, 1.55, 1.6)]
    said = object_answers(rows).baselines()["best constant"].predicted  # type: ignore[attr-defined]
    assert said[:3].tolist() == [1, 1, 1] and said[7:12].tolist() == [4] * 5 and said[12:15].tolist() == [0] * 3
    assert (np.abs(said[15:] - [1, 1.55, 1.6]) <= 0.25 * np.array([1, 1.55, 1.6]) + 1e-9).all()
    assert (np.abs(said[3:6] - [1, 1.1, 1.2]) <= 0.25 * np.array([1, 1.1, 1.2]) + 1e-9).all()


def depth_of_many(groups: int, points: int, seed: int = 0) -> DepthTable:
    """Some images with depth at random heights."""
    rng = np.random.default_rng(seed)
    count = groups * points
    names = [f"image-{n}" for n in rng.permutation(np.repeat(np.arange(groups), points))]
    table = depth_answers(rng.uniform(0.5, 9, count).tolist(), [NAN] * count, names)
    pixels = np.column_stack([np.full(count, 5.0), rng.uniform(-0.5, 79.5, count)])
    return replace(table, point_px=pixels, true_m=table.true_m * (1, 1.3))


@pytest.mark.parametrize(("groups", "points"), [(1, 7), (2, 1), (2, 30), (9, 4), (60, 3)])
def test_the_depth_of_a_row_is_what_a_loop_over_images_gives(groups: int, points: int) -> None:
    table = depth_of_many(groups, points)
    bands = np.clip((table.point_px[:, 1] + 0.5) / 81 * 10, 0, 9).astype(int)
    for row, said in enumerate(table.baselines()["depth of the row"].predicted_m):
        others = table.group != table.group[row] if groups > 1 else np.ones(len(table), bool)
        alike = others & (bands == bands[row])
        assert said.tolist() == np.median(table.true_m[alike if alike.any() else others], axis=0).tolist()


@pytest.mark.parametrize("truths", [[0.0, 0.0, 5.0], [1.0, 1.1, 1.2, 9.0, 9.0, 9.1], [2.0]])
def test_the_best_length_is_the_one_that_the_rule_calls_right_most_often(truths: list[float]) -> None:
    rng = np.random.default_rng(0)
    for true in (np.array(truths), np.round(rng.uniform(0.1, 4, 200), 1), rng.lognormal(size=200)):
        table = object_answers([("width", "length", float(value), NAN) for value in true])
        (said,) = set(table.baselines()["best constant"].predicted.tolist())  # type: ignore[attr-defined]
        right = {value: int(length_right(np.full(len(true), value), true).sum()) for value in np.unique(0.75 * true)}
        assert said == min(right, key=lambda value: (-right[value], value))


def test_ten_thousand_images_take_moments() -> None:
    table = depth_of_many(10_000, 5)
    things = object_answers([("width", "length", float(value), NAN) for value in np.arange(1.0, 20_000.0)])
    began = time.process_time()
    table.baselines()["depth of the row"]
    things.baselines()
    assert time.process_time() - began < 10, "a look at every image for each image takes minutes"
