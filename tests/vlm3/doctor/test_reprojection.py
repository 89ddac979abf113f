"""Points of one view land where another view has measured, and only if the numbers are read as they were meant."""

from dataclasses import replace

import numpy as np
import pytest

from tests.broken import RAY_AS_Z, SHORTENED, broken, deep, room_groups
from tests.frames import make_frame
from vlm3.doctor.reprojection import (
    AS_GIVEN,
    Convention,
    StoredDepth,
    agreement,
    agreements,
    pairs_of,
    thinned,
    view_of,
)


def test_exact_views_agree_fully_and_shares_count_what_they_say() -> None:
    found = agreement([pair for group in room_groups() for pair in pairs_of(group)])
    assert found.share_5pct > 0.98
    assert found.share_2pct > 0.95
    assert found.points >= found.landed >= found.within_5pct >= found.within_2pct > 1000
    assert found.found_2pct == found.within_2pct / found.points
    assert found.in_front < 0.01 * found.landed


def test_a_wall_seen_from_two_steps_away_counts_every_point_by_hand() -> None:
    # Flat wall at 3 m, cameras 0.1 m apart along x: one metre forward makes 2 m, 50 % off.
    frames = [make_frame("s", 0), make_frame("s", 1)]
    views = [view_of(frame) for frame in frames]
    same = agreement([(views[0], views[1])])
    assert same.within_2pct == same.landed > 300
    ahead = views[1].stored_pose.copy()
    ahead[2, 3] += 0.09  # 3 % nearer: points lie 3 % before what this view says
    near = agreement([(views[0], replace(views[1], stored_pose=ahead))])
    assert (near.within_5pct, near.within_2pct, near.in_front) == (near.landed, 0, 0)
    ahead[2, 3] += 0.3
    wrong = agreement([(views[0], replace(views[1], stored_pose=ahead))])
    assert (wrong.within_5pct, wrong.in_front) == (0, wrong.landed)
    ahead[2, 3] -= 1.0
    assert agreement([(views[0], replace(views[1], stored_pose=ahead))]).landed == 0, "behind the surface is hidden"


@pytest.mark.parametrize("factor", [0.001, 0.2, 5.0, 1000.0])
def test_a_factor_of_depth_is_undone_by_its_inverse(factor: float) -> None:
    right = agreement(pairs_of(room_groups()[0]))
    (off,) = broken(room_groups()[:1], deep(factor))
    assert agreement(pairs_of(off), Convention(depth_factor=1 / factor)).within_2pct == pytest.approx(
        right.within_2pct, rel=0.01
    )
    assert agreement(pairs_of(off)).found_2pct < 0.8 * right.found_2pct


@pytest.mark.parametrize(("change", "kind"), [(RAY_AS_Z, StoredDepth.RAY), (SHORTENED, StoredDepth.SHORTENED)])
def test_a_wrong_kind_of_depth_is_undone_by_its_reading(change, kind: StoredDepth) -> None:
    right = agreement(pairs_of(room_groups()[0]))
    (off,) = broken(room_groups()[:1], change)
    assert agreement(pairs_of(off), Convention(depth=kind)).within_2pct == pytest.approx(right.within_2pct, rel=0.01)


def test_many_factors_at_once_are_each_factor_alone() -> None:
    pairs = pairs_of(room_groups()[1])[:10]
    factors = (0.01, 0.8, 1.0, 3.0)
    assert agreements(pairs, AS_GIVEN, factors) == [agreement(pairs, Convention(depth_factor=f)) for f in factors]


def test_pairs_are_of_one_scene_and_of_different_frames_and_never_too_many() -> None:
    frames = [*room_groups()[0], *room_groups()[1]]
    assert len(pairs_of(frames)) == 48
    assert pairs_of([room_groups()[0][0], room_groups()[1][0]]) == []
    assert pairs_of([room_groups()[0][0]] * 3) == []
    assert len(pairs_of(room_groups()[0][:3])) == 6


def test_across_times_of_a_moving_scene_nothing_is_compared() -> None:
    moving = [replace(frame, dynamic=True) for frame in room_groups()[0][:3]]
    assert pairs_of(moving) == []
    rig = [replace(frame, time_s=1.0) for frame in moving]
    assert len(pairs_of(rig)) == 6
    assert pairs_of([replace(frame, time_s=None) for frame in moving]) == []


@pytest.mark.parametrize(
    "change",
    [
        {"world_T_cam": None},
        {"world_T_cam": np.full((4, 4), np.nan)},
        {"world_T_cam": np.eye(3)},
        {"small_depth": None},
    ],
)
def test_what_cannot_be_compared_is_no_view(change: dict) -> None:
    assert view_of(make_frame("s", 0)) is not None
    assert view_of(replace(make_frame("s", 0), **change)) is None


def test_a_camera_that_is_none_and_a_map_without_depth_are_no_view() -> None:
    frame = make_frame("s", 0)
    assert view_of(replace(frame, small_depth=replace(frame.small_depth, fx_px=np.nan))) is None
    assert view_of(replace(frame, small_depth=replace(frame.small_depth, fy_px=-3.0))) is None
    empty = np.full((24, 32), np.nan, np.float32)
    assert view_of(replace(frame, small_depth=replace(frame.small_depth, z_depth_m=empty))) is None
    assert view_of(replace(frame, small_depth=replace(frame.small_depth, z_depth_m=0 * empty + 0))) is None


def test_thinning_spreads_over_all_pairs() -> None:
    pairs = [pair for group in room_groups() for pair in pairs_of(group)]
    few = thinned(pairs, 10, 50)
    assert 5 <= len(few) <= 10
    assert {len(one.rays) for one, _ in few} == {50}
    assert few[-1][1] is not few[0][1]
