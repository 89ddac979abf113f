"""Findings on single frames: every one fires on what it is for, and on nothing sound."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests import broken as b
from tests.frames import make_frame
from tests.image_files import turned
from vlm3.doctor.finding import Finding, Verdict
from vlm3.doctor.frames import diagnose_frames, field_of_view_deg
from vlm3.geometry.camera import Camera, Distortion
from vlm3.geometry.depth import DepthKind, convert_depth
from vlm3.scenes.protocol import Rejection
from vlm3.scenes.schema import Frame, Scale

FRAMES = [make_frame("s", number) for number in range(20)]


def found(items: list[Frame | Rejection], check: str, most_rejected: float = 0.1) -> Finding:
    (finding,) = [each for each in diagnose_frames(items, most_rejected) if each.check == check]
    return finding


def changed(check: str, count: int = 20, **changes: object) -> Finding:
    """What is found where the first `count` frames are changed."""
    return found([replace(frame, **changes) for frame in FRAMES[:count]] + FRAMES[count:], check)


def camera(**changes: float) -> Camera:
    return replace(FRAMES[0].camera, **changes)


def test_sound_frames_pass_everything_and_each_check_is_there_once() -> None:
    frames = [frame for group in b.room_groups() for frame in group]
    findings = diagnose_frames(frames, 0.0)
    assert {finding.verdict for finding in findings} == {Verdict.OK}
    names = [finding.check for finding in findings]
    assert len(set(names)) == len(names) == 9
    assert all(finding.advice == "" for finding in findings)


@pytest.mark.parametrize(
    ("name", "unknown"),
    [
        ("rgbd_7scenes", {"time order"}),
        ("rgbd_hololens", {"time order"}),
        ("depth_ibims1", {"time order", "valid depth", "labels"}),
    ],
)
def test_real_frames_pass_what_can_be_told(data_dir: Path, name: str, unknown: set[str]) -> None:
    frames = [frame for group in b.folder_groups(data_dir / name) for frame in group]
    findings = {finding.check: finding.verdict for finding in diagnose_frames(frames, 0.0)}
    assert {check for check, verdict in findings.items() if verdict is Verdict.CANNOT_TELL} == unknown
    assert set(findings.values()) == {Verdict.OK, Verdict.CANNOT_TELL}


def test_bad_frames_are_counted_and_the_first_is_named() -> None:
    bad = replace(FRAMES[3], encoded_image=FRAMES[3].encoded_image[:40])
    one = found([*FRAMES[:3], bad, *FRAMES[4:]], "frames")
    assert (one.verdict, one.value) == (Verdict.WARN, 0.05)
    assert "19 of 20" in one.figure and "s/0003: unreadable image" in one.figure
    assert found([*FRAMES[:3], bad], "frames").verdict is Verdict.FAIL
    assert found([*FRAMES[:3], bad, *FRAMES[4:]], "frames", 0.0).verdict is Verdict.FAIL
    rejected = Rejection("made", "s", "0009", "no such file")
    assert "s/0009: no such file" in found([*FRAMES, rejected], "frames").figure


def test_a_source_without_a_readable_frame_fails_and_asks_nothing_else() -> None:
    assert [f.verdict for f in diagnose_frames([], 0.1)] == [Verdict.FAIL]
    (finding,) = diagnose_frames([Rejection("made", "s", "1", "why")], 0.1)
    assert finding.verdict is Verdict.FAIL and "why" in finding.figure


@pytest.mark.parametrize(("kind", "tool"), [("JPEG", "jpegtran"), ("PNG", "magick")])
def test_turned_pictures_fail_with_advice_for_their_format(kind: str, tool: str) -> None:
    black = np.zeros((24, 32, 3), np.uint8)
    finding = changed("EXIF orientation", 5, encoded_image=turned(kind, 6, black))
    assert (finding.verdict, finding.value) == (Verdict.FAIL, 0.25)
    assert tool in finding.advice
    assert changed("EXIF orientation", encoded_image=turned(kind, 0, black)).verdict is Verdict.OK
    assert changed("EXIF orientation", encoded_image=b"no image").verdict is Verdict.OK


@pytest.mark.parametrize(
    ("focal_px", "verdict"), [(30, Verdict.OK), (180, Verdict.OK), (200, Verdict.FAIL), (4, Verdict.FAIL)]
)
def test_fields_of_view_that_no_lens_has_fail(focal_px: float, verdict: Verdict) -> None:
    assert changed("focal length", camera=camera(fx_px=focal_px, fy_px=focal_px)).verdict is verdict


def test_one_wrong_camera_among_many_is_seen() -> None:
    finding = changed("focal length", 1, camera=camera(fx_px=3000.0, fy_px=3000.0))
    assert finding.verdict is Verdict.FAIL
    assert "0.6° to 56.1° (2 cameras)" in finding.figure


def test_squeezed_images_are_warned_of() -> None:
    finding = changed("focal length", camera=camera(fy_px=40.0))
    assert finding.verdict is Verdict.WARN and "1.33" in finding.figure


@pytest.mark.parametrize("value", [np.nan, 0.0, -5.0])
def test_cameras_that_are_none_do_not_stop_the_other_checks(value: float) -> None:
    findings = diagnose_frames([replace(frame, camera=camera(fx_px=value)) for frame in FRAMES], 0.1)
    assert len(findings) == 9
    assert next(f for f in findings if f.check == "focal length").verdict is Verdict.FAIL


def test_field_of_view_of_known_cameras() -> None:
    assert field_of_view_deg(Camera(200, 100, 100.0, 100.0, 99.5, 49.5)) == pytest.approx(90)
    fisheye = Camera(314, 100, 100.0, 100.0, 156.5, 49.5, Distortion.FISHEYE, (0.0, 0.0, 0.0, 0.0))
    assert field_of_view_deg(fisheye) == pytest.approx(180, abs=0.5), "beyond 89 degrees, 90 are counted"


def test_a_principal_point_far_from_the_centre_is_warned_of() -> None:
    assert changed("principal point", camera=camera(cx_px=18.0)).verdict is Verdict.OK
    finding = changed("principal point", camera=camera(cy_px=4.0))
    assert finding.verdict is Verdict.WARN and finding.value == pytest.approx(7.5 / 24)


def test_time_order() -> None:
    assert found(list(FRAMES), "time order").verdict is Verdict.OK
    assert found(list(reversed(FRAMES)), "time order").verdict is Verdict.OK, "clips are not in the order of time"
    assert changed("time order", time_s=None).verdict is Verdict.CANNOT_TELL
    assert "5 of 20" in changed("time order", 5, time_s=None).figure
    assert found(FRAMES[:1], "time order").verdict is Verdict.CANNOT_TELL
    backward = [replace(frame, time_s=-frame.time_s) for frame in FRAMES]
    assert (found(backward, "time order").verdict, found(backward, "time order").value) == (Verdict.WARN, 1.0)
    assert changed("time order", time_s=3.0).verdict is Verdict.WARN


def test_frames_are_ordered_by_number_and_per_camera() -> None:
    named = [replace(frame, frame=f"frame{i}") for i, frame in enumerate(FRAMES)]
    assert found(named, "time order").verdict is Verdict.OK
    other = [replace(frame, camera_id="cam1", time_s=frame.time_s + 0.5) for frame in named]
    assert found([*named, *other], "time order").verdict is Verdict.OK


def test_copies_of_images_are_counted_but_a_frame_in_two_clips_is_none() -> None:
    assert found([*FRAMES, *FRAMES[:5]], "duplicates").verdict is Verdict.OK
    two = changed("duplicates", 2, encoded_image=FRAMES[0].encoded_image)
    assert (two.verdict, two.value) == (Verdict.WARN, 0.05)
    assert "s/0000 and s/0001" in two.figure
    assert changed("duplicates", 10, encoded_image=FRAMES[0].encoded_image).verdict is Verdict.FAIL


@pytest.mark.parametrize(("rows", "verdict"), [(24, Verdict.OK), (1, Verdict.WARN), (0, Verdict.FAIL)])
def test_share_of_valid_depth(rows: int, verdict: Verdict) -> None:
    small = FRAMES[0].small_depth
    z_depth_m = np.full((24, 32), np.nan, np.float32)
    z_depth_m[:rows] = 3
    assert changed("valid depth", small_depth=replace(small, z_depth_m=z_depth_m)).verdict is verdict


def test_range_of_depth() -> None:
    points = FRAMES[0].points.copy()
    assert changed("range of depth").verdict is Verdict.FAIL, "3 m everywhere is no depth"
    points[:, 2] = np.linspace(1, 5, 20)
    good = changed("range of depth", points=points)
    assert good.verdict is Verdict.OK and good.figure.startswith("1 / 3 / 5 m")
    assert changed("range of depth", points=points * [1, 1, 200]).verdict is Verdict.WARN
    assert changed("range of depth", points=points * [1, 1, 0.001]).verdict is Verdict.WARN
    assert changed("range of depth", points=points * [1, 1, 200], scale=Scale.RELATIVE).verdict is Verdict.OK
    assert changed("range of depth", points=np.empty((0, 3), np.float32)).verdict is Verdict.CANNOT_TELL
    assert changed("range of depth", points=points * np.nan).verdict is Verdict.CANNOT_TELL


def test_labels_of_the_other_kind_than_said_fail_both_ways() -> None:
    def swapped(frame: Frame) -> Frame:
        """Ray depth that is said to be z."""
        ray_m = convert_depth(frame.points[:, 2], frame.points[:, :2], frame.camera, DepthKind.Z, DepthKind.RAY)
        return replace(frame, points=np.column_stack([frame.points[:, :2], ray_m]).astype(np.float32))

    (group,) = b.broken(b.room_groups()[:1], swapped)
    finding = found(list(group), "labels")
    assert finding.verdict is Verdict.FAIL and "if they are ray depth" in finding.figure
    right = [replace(frame, depth_kind=DepthKind.RAY) for frame in group]
    assert found(right, "labels").verdict is Verdict.OK
    said_ray = [replace(frame, depth_kind=DepthKind.RAY) for frame in b.room_groups()[0]]
    assert "if they are z depth" in found(said_ray, "labels").figure


def test_labels_of_another_depth_than_the_map_fail() -> None:
    points = FRAMES[0].points * np.float32([1, 1, 2])
    assert changed("labels", points=points).verdict is Verdict.FAIL
    assert changed("labels", 6, points=points).verdict is Verdict.WARN
    assert changed("labels", points=points[:0]).verdict is Verdict.CANNOT_TELL
