"""Pictures show what they claim to, for few and many points, and for answers that cannot be read."""

import io

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from vlm3.asking.protocol import Conversation, Turn
from vlm3.geometry.camera import Camera
from vlm3.geometry.depth import DepthKind
from vlm3.pictures.drawing import depth_overlay, mixture_chart, sample_gallery, scatter_true_predicted
from vlm3.scenes.schema import IntrinsicsSource, Scale
from vlm3.views.samples import Provenance, ViewSample


def view(points: int = 6, scene: str = "room-1") -> ViewSample:
    rng = np.random.default_rng(points)
    return ViewSample(
        image=rng.integers(0, 255, (48, 64, 3), np.uint8),
        camera=Camera(64, 48, 70.0, 70.0, 31.5, 23.5),
        points_px=rng.uniform(0, (64, 48), (points, 2)),
        depth_m=rng.uniform(0.5, 8.0, points),
        depth_kind=DepthKind.RAY,
        scale=Scale.METRIC,
        boxes=(),
        provenance=Provenance("rooms", scene, "0", IntrinsicsSource.GIVEN, 3),
    )


def conversation(turns: int) -> Conversation:
    return Conversation(tuple(Turn(f"How far is point {n}, in $ or m?", f"{n}.5 m") for n in range(turns)))


def texts(figure: Figure) -> str:
    return "\n".join(item.get_text() for axes in figure.axes for item in [*axes.texts, axes.title, axes.xaxis.label])


def pixels(figure: Figure) -> np.ndarray:
    """The rendered figure, which also proves that it can be drawn without warnings."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=60)
    stream.seek(0)
    return matplotlib.image.imread(stream)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
@pytest.mark.filterwarnings("error")
def test_gallery_shows_every_sample_with_its_first_questions(count: int):
    figure = sample_gallery([view(5 + n, f"room$_{n}") for n in range(count)], [conversation(5)] * count)
    pixels(figure)
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == count
    assert all(f"room$_{n}" in texts(figure) for n in range(count))
    assert texts(figure).count("Q How far is point 0") == count
    assert "point 3" not in texts(figure) and texts(figure).count("… 2 more") == count


def test_gallery_keeps_the_image_in_full_view_and_thins_many_points():
    figure = sample_gallery([view(1000)], [conversation(1)])
    axes = figure.axes[0]
    assert axes.get_xlim() == (-0.5, 63.5) and axes.get_ylim() == (47.5, -0.5)
    assert 100 <= len(axes.collections[0].get_offsets()) <= 150


@pytest.mark.filterwarnings("error")
def test_gallery_of_samples_without_labels_has_no_colour_bar():
    figure = sample_gallery([view(0)], [conversation(0)])
    pixels(figure)
    assert "depth in metres" not in texts(figure)


@pytest.mark.filterwarnings("error")
def test_overlay_lists_truth_answer_and_error_of_every_point():
    true, predicted = np.array([2.0, 4.0, 1.0]), np.array([2.5, np.nan, 3.0])
    figure = depth_overlay(view().image, view(3).points_px, true, predicted)
    pixels(figure)
    table = figure.axes[1].texts[0].get_text().splitlines()[1:]
    assert [line.split() for line in table] == [
        ["1", "2.00", "m", "2.50", "m", "25%"],
        ["2", "4.00", "m", "?", "-"],
        ["3", "1.00", "m", "3.00", "m", "200%"],
    ]
    readable, unreadable = figure.axes[0].collections
    np.testing.assert_allclose(readable.get_array(), [0.25, 2.0])
    np.testing.assert_allclose(unreadable.get_offsets(), view(3).points_px[[1]])


def test_overlay_of_many_points_stays_readable():
    sample = view(60)
    figure = depth_overlay(sample.image, sample.points_px, sample.depth_m, 1.1 * sample.depth_m)
    assert len(figure.axes[0].texts) == 0
    assert "… 44 more" in texts(figure)


@pytest.mark.filterwarnings("error")
def test_scatter_counts_unreadable_and_worthless_answers_as_wrong():
    true = np.array([1.0, 2.0, 4.0, 8.0, 1.0])
    predicted = np.array([1.2, 3.0, np.nan, 8.0, 0.0])
    figure = scatter_true_predicted(true, predicted)
    pixels(figure)
    assert "δ1 = 0.400 of 5 answers, 2 unreadable" in texts(figure)
    axes = figure.axes[0]
    assert axes.get_xlim() == axes.get_ylim() and axes.get_xscale() == "log"


@pytest.mark.filterwarnings("error")
def test_scatter_without_any_readable_answer_is_still_a_picture():
    figure = scatter_true_predicted(np.array([1.0, 2.0]), np.array([np.nan, np.nan]))
    assert pixels(figure).size and "δ1 = 0.000 of 2 answers, 2 unreadable" in texts(figure)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", [1, 3, 24])
def test_mixture_chart_labels_both_shares_of_every_component(count: int):
    asked = np.full(count, 1 / count)
    realised = asked.copy()
    realised[0] -= 0.004
    figure = mixture_chart([f"source-{n}/depth" for n in range(count)], asked, realised)
    pixels(figure)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [f"source-{n}/depth" for n in range(count)]
    assert len(axes.patches) == 2 * count and "at most 0.40 points" in axes.get_title()


def test_pictures_leave_no_figure_behind_in_pyplot():
    import matplotlib.pyplot

    mixture_chart(["a"], [1.0], [1.0])
    assert matplotlib.pyplot.get_fignums() == []
