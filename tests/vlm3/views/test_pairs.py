"""Pairs of a clip: who pairs up with whom, and what is said of each pair."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.frames import make_frame
from tests.vlm3.work import calls
from vlm3.scenes.schema import Frame
from vlm3.sources.rooms.reader import RoomsConfig, RoomsReader
from vlm3.views.pairs import clip_pairs, corresponds


def clip(count: int, scene: str = "hall", first: int = 0, posed: bool = True) -> list[Frame]:
    """Frames 0.1 m apart before a wall 3 m away, 32 pixels of 0.1 m wide."""
    return [make_frame(scene, first + index, posed=posed) for index in range(count)]


def test_overlap_baseline_and_rotation_are_those_of_the_poses() -> None:
    pairs = clip_pairs(clip(4))
    assert [(p.first, p.second) for p in pairs] == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    for pair in pairs:
        steps = pair.second - pair.first
        assert pair.baseline_m == pytest.approx(0.1 * steps)
        assert pair.rotation_deg == pytest.approx(0, abs=1e-9)
        # The step moves the picture by a pixel of 32.
        assert pair.overlap == pytest.approx(1 - steps / 32, abs=0.04)
        assert not pair.pose_only


@pytest.mark.parametrize("degrees", [0.001, 0.5, 12.0, 170.0, 180.0])
def test_rotation_is_the_angle_between_the_cameras(degrees: float) -> None:
    one, other = clip(2)
    axis = np.array([0.6, 0.0, 0.8])
    pose = other.world_T_cam.copy()
    pose[:3, :3] = Rotation.from_rotvec(np.deg2rad(degrees) * axis).as_matrix()
    (pair,) = clip_pairs([one, replace(other, world_T_cam=pose)], min_overlap=-1)
    assert pair.rotation_deg == pytest.approx(degrees, rel=1e-6)


def test_pairs_lie_above_the_least_overlap() -> None:
    frames = clip(30)
    pairs = clip_pairs(frames, min_overlap=0.5)
    assert {p.second - p.first for p in pairs} == set(range(1, max(p.second - p.first for p in pairs) + 1))
    assert min(p.overlap for p in pairs) > 0.5
    assert max(p.second - p.first for p in pairs) in range(14, 18)


def test_only_posed_frames_of_one_scene_pair_up() -> None:
    hall, attic = clip(3, "hall"), clip(2, "attic")
    mixed = [
        hall[0],
        attic[0],
        replace(hall[1], world_T_cam=None),
        attic[1],
        hall[2],
        make_frame("hall", 0, source="x"),
    ]
    assert [(p.first, p.second) for p in clip_pairs(mixed)] == [(0, 4), (1, 3)]
    assert clip_pairs(clip(4, posed=False)) == ()
    assert clip_pairs([]) == clip_pairs(clip(1)) == ()


def test_without_depth_frusta_are_compared_and_the_pair_is_for_pose_only() -> None:
    frames = [replace(frame, small_depth=None, points=np.empty((0, 3), np.float32)) for frame in clip(3)]
    pairs = clip_pairs(frames)
    assert len(pairs) == 3
    assert all(pair.pose_only and pair.overlap > 0.8 for pair in pairs)
    # One frame without depth makes its own pairs so.
    assert [p.pose_only for p in clip_pairs([frames[0], *clip(3)[1:]])] == [True, True, False]


def test_a_wall_between_two_rooms_hides_one_from_the_other() -> None:
    one = make_frame("hall", 0)
    behind = np.eye(4)
    behind[2, 3] = 4.0
    other = replace(one, frame="behind", world_T_cam=behind)
    assert clip_pairs([one, other]) == ()
    blind = [replace(frame, small_depth=None) for frame in (one, other)]
    assert len(clip_pairs(blind, min_overlap=0.2)) == 1, "their frusta overlap"


@pytest.mark.parametrize(
    ("dynamic", "times", "expected"),
    [
        (False, (0.0, 1.0), True),
        (False, (None, None), True),
        (True, (0.0, 1.0), False),
        (True, (2.5, 2.5), True),
        (True, (None, None), False),
        (True, (1.0, None), False),
    ],
)
def test_across_times_of_a_dynamic_scene_there_is_a_pose_but_no_correspondence(
    dynamic: bool, times: tuple[float | None, float | None], expected: bool
) -> None:
    frames = [replace(frame, dynamic=dynamic, time_s=time_s) for frame, time_s in zip(clip(2), times, strict=True)]
    assert corresponds(*frames) is corresponds(*reversed(frames)) is expected
    (pair,) = clip_pairs(frames)
    assert pair.pose_only is not expected


def test_frames_without_labels_do_not_correspond() -> None:
    one, other = clip(2)
    assert not corresponds(one, replace(other, points=np.empty((0, 3), np.float32)))


def test_a_clip_of_sixteen_frames_takes_no_more_calls_when_its_frames_are_larger() -> None:
    needed = []
    for width_px in (160, 320):
        size = {"width_px": width_px, "height_px": width_px * 3 // 4}
        reader = RoomsReader(RoomsConfig(scenes=1, frames_per_scene=16, seed=2, **size))
        frames = list(reader.frames("room-000000"))
        assert len(clip_pairs(frames)) > 60
        needed.append(calls(lambda frames=frames: clip_pairs(frames)))
    # 35 calls a pair: less than 30 ms on one core.
    assert needed[1] < 1.1 * needed[0] < 5000
