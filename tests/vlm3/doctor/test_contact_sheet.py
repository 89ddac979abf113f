"""The sheet draws what it claims, for posed, unposed, broken and empty sources."""

import io
from dataclasses import replace

import cv2
import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from tests.broken import GL_AXES, room_groups
from tests.frames import make_frame
from vlm3.doctor.contact_sheet import contact_sheet
from vlm3.doctor.finding import Finding, Verdict
from vlm3.pictures.drawing import RIGHT, WRONG

FINDINGS = [
    Finding("pose $convention", Verdict.FAIL, "poses look like $x " * 20, "invert"),
    Finding("b", Verdict.OK, ""),
]
ROOM = room_groups()[0]


def drawn(figure: Figure) -> np.ndarray:
    """The rendered figure, which also proves that it can be drawn without warnings."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=50)
    stream.seek(0)
    return matplotlib.image.imread(stream)


def texts(figure: Figure) -> str:
    return "\n".join(item.get_text() for axes in figure.axes for item in [*axes.texts, axes.title, axes.xaxis.label])


def colours(figure: Figure, panel: int) -> list[tuple[float, ...]]:
    return [tuple(colour) for colour in figure.axes[panel].collections[0].get_facecolors()]


@pytest.mark.filterwarnings("error")
def test_a_posed_source_shows_each_frame_twice_and_right_points_in_green() -> None:
    figure = contact_sheet("rooms", [(ROOM[0], ROOM[1]), (ROOM[3], ROOM[2])], FINDINGS)
    drawn(figure)
    assert len([axes for axes in figure.axes if axes.images]) == 4
    shown = colours(figure, 1)
    assert shown.count(to_rgba(RIGHT)) > 0.8 * len(shown) > 100
    assert "points of 0001: " in texts(figure) and "agree" in texts(figure)


def test_wrong_poses_are_red() -> None:
    wrong = [GL_AXES(frame) for frame in ROOM]
    figure = contact_sheet("rooms", [(wrong[0], wrong[7])], FINDINGS)
    shown = colours(figure, 1)
    assert shown.count(to_rgba(WRONG)) > 10
    assert shown.count(to_rgba(RIGHT)) < 0.7 * len(shown)


def test_labels_lie_on_the_shown_pixels_also_where_the_image_is_shown_smaller() -> None:
    large = replace(ROOM[0].camera, width_px=1920, height_px=1440, fx_px=800.0, fy_px=800.0, cx_px=959.5, cy_px=719.5)
    encoded = cv2.imencode(".jpg", np.zeros((1440, 1920, 3), np.uint8))[1].tobytes()
    corner = np.array([[1919, 1439, 2.0], [0, 0, 1.0]], np.float32)
    figure = contact_sheet(
        "large", [(replace(ROOM[0], camera=large, encoded_image=encoded, points=corner), None)], FINDINGS
    )
    (image,) = figure.axes[0].images
    assert image.get_size() == (360, 480)
    np.testing.assert_allclose(
        figure.axes[0].collections[0].get_offsets(), [[479.375, 359.375], [-0.375, -0.375]], atol=1e-4
    )


@pytest.mark.filterwarnings("error")
def test_single_views_are_shown_once_and_findings_are_written_short() -> None:
    figure = contact_sheet("made", [(make_frame("s", n, posed=False), None) for n in range(5)], FINDINGS)
    drawn(figure)
    assert len([axes for axes in figure.axes if axes.images]) == 5
    written = texts(figure)
    assert "cannot tell" not in written and "fail" in written and "pose $convention" in written
    assert max(map(len, written.splitlines())) <= 165


@pytest.mark.filterwarnings("error")
def test_broken_frames_and_empty_sources_still_give_a_sheet() -> None:
    broken = replace(ROOM[0], encoded_image=ROOM[0].encoded_image[:300], points=np.empty((0, 3), np.float32))
    figure = contact_sheet("broken", [(broken, ROOM[1])], FINDINGS)
    drawn(figure)
    assert "damaged JPEG" in texts(figure)
    assert drawn(contact_sheet("empty", [], FINDINGS)).size
