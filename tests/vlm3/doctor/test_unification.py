"""Whether frames unify, at the focal that a recipe asks for."""

from dataclasses import replace

from tests.broken import room_groups
from tests.frames import make_frame
from vlm3.doctor.finding import Verdict
from vlm3.doctor.unification import CHECKED, diagnose_unification

FRAMES = [make_frame("s", number) for number in range(4)]


def test_sound_frames_unify_and_keep_their_labels() -> None:
    finding = diagnose_unification([frame for group in room_groups() for frame in group], 70.0)
    assert finding.verdict is Verdict.OK
    assert finding.check == "unification to 70 px"
    assert finding.value == 1, "straightened barrel lenses, which reach farther, included"
    assert finding.figure.startswith(f"{CHECKED} frames become ")


def test_frames_that_would_be_blown_up_fail_with_their_name() -> None:
    finding = diagnose_unification(FRAMES, 1000.0)
    assert finding.verdict is Verdict.FAIL
    assert "4 of 4" in finding.figure and "s/0000: focal 30 px would be scaled up" in finding.figure


def test_a_focal_that_crops_most_labels_away_is_warned_of() -> None:
    wide = [frame for group in room_groups() for frame in group if frame.camera.fx_px < 80]
    finding = diagnose_unification(wide, 2000.0)
    assert finding.verdict is Verdict.WARN
    assert finding.value < 0.5 and "shorter focal_px" in finding.advice


def test_frames_that_are_not_sound_are_left_to_the_other_check() -> None:
    bad = [replace(frame, encoded_image=b"no image") for frame in FRAMES]
    assert diagnose_unification(bad, 100.0).verdict is Verdict.CANNOT_TELL
    assert diagnose_unification([], 100.0).verdict is Verdict.CANNOT_TELL
    assert "1 frames" in diagnose_unification([*bad[:3], FRAMES[3]], 100.0).figure
