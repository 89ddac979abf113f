"""Each usual mistake is recognised on rendered and on real frames, and named; sound sources pass."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tests import broken as b
from tests.frames import make_frame
from vlm3.doctor.finding import Finding, Verdict
from vlm3.doctor.posed_views import CHECKS, diagnose_views
from vlm3.scenes.schema import Frame

MISTAKES = {
    "inverted": (b.INVERTED, "pose convention", "world_T_cam inverted (world-to-camera)", "inv(pose)"),
    "opengl": (b.GL_AXES, "pose convention", "OpenGL axes", "negate columns 2 and 3"),
    "opengl-view": (b.GL_VIEW, "pose convention", "OpenGL view matrix", "invert every pose, then"),
    "mirrored": (b.MIRRORED, "pose convention", "mirrored left to right", "reflection in x"),
    "left-handed": (b.LEFT_HANDED, "pose convention", "mirrored left to right", "reflection in x"),
    "mm-as-m": (b.deep(1000), "depth scale", "millimetres read as metres", "multiply depth by 0.001"),
    "5000-as-1000": (b.deep(5), "depth scale", "1/5000 m read as millimetres", "multiply depth by 0.2"),
    "1000-as-5000": (b.deep(0.2), "depth scale", "millimetres read as 1/5000 m", "multiply depth by 5"),
    "256-as-1000": (b.deep(0.256), "depth scale", "1/256 m read as millimetres", "multiply depth by 3.9"),
    "a-fifth-too-far": (b.deep(1.2), "depth scale", "depth × 0.8", "multiply depth by 0.8"),
    "ray-as-z": (b.RAY_AS_Z, "depth kind", "looks like ray depth", "divide it by"),
    "shortened": (b.SHORTENED, "depth kind", "looks like z-depth, shortened", "leave that out"),
}


def by_check(groups: object) -> dict[str, Finding]:
    findings = diagnose_views(groups)
    assert tuple(finding.check for finding in findings) == CHECKS
    return {finding.check: finding for finding in findings}


folder_groups = cache(b.folder_groups)


def groups_of(data: str, request: pytest.FixtureRequest) -> Sequence[Sequence[Frame]]:
    return b.room_groups() if data == "rooms" else folder_groups(request.getfixturevalue("data_dir") / data)


def few_of(groups: Sequence[Sequence[Frame]]) -> Sequence[Sequence[Frame]]:
    """Six frames of a folder, or twelve of two rooms: enough pairs to show every mistake; more only take longer."""
    return [group[::3] for group in groups[:1]] if len(groups[0]) > 8 else [group[:6] for group in groups[:2]]


@pytest.mark.parametrize("data", ["rooms", "rgbd_7scenes", "rgbd_hololens"])
def test_a_sound_source_passes_with_figures_like_those_published(data: str, request: pytest.FixtureRequest) -> None:
    found = by_check(groups_of(data, request))
    assert [finding.verdict for finding in found.values()] == [Verdict.OK] * 4
    assert found["reprojection"].value > 0.92
    assert found["pose convention"].value > 1.5
    assert found["depth scale"].value == pytest.approx(1, abs=0.04)


@pytest.mark.parametrize("data", ["rooms", "rgbd_7scenes", "rgbd_hololens"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_recognised_named_and_mended(data: str, mistake: str, request: pytest.FixtureRequest) -> None:
    change, check, said, advised = MISTAKES[mistake]
    found = by_check(b.broken(few_of(groups_of(data, request)), change))
    assert found[check].verdict is Verdict.FAIL
    assert said in found[check].figure
    assert advised in found[check].advice
    # One mistake is one failure: nothing else is blamed, but that views disagree is seen.
    others = {"pose convention", "depth scale", "depth kind"} - {check}
    assert [name for name in others if found[name].verdict is Verdict.FAIL] == []
    assert found["reprojection"].verdict is not Verdict.OK or check == "depth scale"


def test_poses_of_other_frames_fail_without_a_wrong_name() -> None:
    rng = np.random.default_rng(0)
    groups = [
        [replace(frame, world_T_cam=group[i].world_T_cam) for frame, i in zip(group, rng.permutation(6), strict=True)]
        for group in few_of(b.room_groups())
    ]
    found = by_check(groups)
    assert found["reprojection"].verdict is not Verdict.OK
    assert found["pose convention"].verdict is not Verdict.FAIL


def test_a_camera_that_stands_still_shows_nothing_of_poses_scale_or_kind() -> None:
    wall = [replace(make_frame("s", i), world_T_cam=np.eye(4)) for i in range(4)]
    found = by_check([wall])
    assert found["reprojection"].verdict is Verdict.OK
    assert {found[check].verdict for check in CHECKS[1:]} == {Verdict.CANNOT_TELL}
    assert "too little" in found["depth scale"].figure


@pytest.mark.parametrize(
    ("groups", "why"),
    [
        ([], "no poses"),
        ([[make_frame("s", 0, posed=False), make_frame("s", 1, posed=False)]], "no poses"),
        ([[make_frame("s", 0), replace(make_frame("s", 1), small_depth=None)]], "no two posed frames"),
    ],
)
def test_without_posed_depth_nothing_can_be_told(groups: object, why: str) -> None:
    found = by_check(groups)
    assert {finding.verdict for finding in found.values()} == {Verdict.CANNOT_TELL}
    assert all(why in finding.figure for finding in found.values())


def test_views_that_do_not_meet_show_nothing() -> None:
    away = np.eye(4)
    away[:3, 3] = 500, 0, 0
    groups = [[make_frame("s", 0), replace(make_frame("s", 1), world_T_cam=away)]]
    assert {finding.verdict for finding in by_check(groups).values()} == {Verdict.CANNOT_TELL}


def test_narrow_lenses_cannot_tell_the_kind_of_depth(data_dir: Path) -> None:
    def long_lens(frame):
        """The middle third of the map only: a field of view of 21 degrees."""
        z = frame.small_depth.z_depth_m.copy()
        h, w = z.shape
        z[: h * 4 // 10], z[h * 6 // 10 :], z[:, : w * 4 // 10], z[:, w * 6 // 10 :] = (np.nan,) * 4
        return replace(frame, small_depth=replace(frame.small_depth, z_depth_m=z))

    groups = b.broken(b.folder_groups(data_dir / "rgbd_7scenes", 40), long_lens)
    assert by_check(groups)["depth kind"].verdict is Verdict.CANNOT_TELL
