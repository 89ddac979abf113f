"""Depth at the tip of an arrow."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm3.asking.templates import load_templates
from vlm3.errors import ConfigError, DataError
from vlm3.geometry.camera import Camera
from vlm3.geometry.depth import DepthKind
from vlm3.scenes.schema import IntrinsicsSource, Scale
from vlm3.tasks.depth.templates import DepthTemplates
from vlm3.tasks.depth_marker.task import MARGIN_PX, MarkerDepthTask, MarkerDepthTaskConfig, draw_arrow
from vlm3.views.samples import Provenance, ViewSample

WIDTH, HEIGHT = 192, 128
RED = (255, 0, 0)


def sample(count: int, scale: Scale = Scale.METRIC) -> ViewSample:
    rng = np.random.default_rng(count)
    return ViewSample(
        image=np.full((HEIGHT, WIDTH, 3), 90, np.uint8),
        camera=Camera(WIDTH, HEIGHT, 70, 70, WIDTH / 2, HEIGHT / 2),
        points_px=rng.uniform((0, 0), (WIDTH - 1, HEIGHT - 1), (count, 2)),
        depth_m=np.arange(count) + 0.254,
        depth_kind=DepthKind.RAY,
        scale=scale,
        boxes=(),
        provenance=Provenance("rooms", "s1", "f1", IntrinsicsSource.GIVEN),
    )


def marker_wordings() -> tuple[str, ...]:
    marker = load_templates("vlm3-1").part(DepthTemplates).marker
    assert marker is not None
    return marker.ray


def test_one_question_without_coordinates_shows_a_marked_copy() -> None:
    view, task = sample(30), MarkerDepthTask(MarkerDepthTaskConfig())
    said = task.ask(view, np.random.default_rng(0))
    (turn,) = said.turns
    assert said.images == 1 and said.images_shown is not None and len(said.images_shown) == 1
    assert "arrow" in turn.question and not any(character.isdigit() for character in turn.question)
    x, y = np.rint(view.points_px[round(task.read(turn.answer) - 0.25)]).astype(int)
    assert said.images_shown[0][y, x].tolist() == [255, 0, 0], "the tip is at the point whose depth is answered"
    assert (view.image == 90).all()
    assert task.question(70.0) == marker_wordings()[0] and turn.question in marker_wordings()


@given(
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(16, 400),
    st.integers(16, 400),
    st.integers(8, 200),
    st.integers(0, 99),
)
def test_an_arrow_ends_at_its_tip_and_lies_inside_any_image(
    u: float, v: float, width: int, height: int, length: int, seed: int
) -> None:
    image = np.full((height, width, 3), 90, np.uint8)
    tip_px = (u * (width - 1), v * (height - 1))
    marked = draw_arrow(image, tip_px, length, RED, np.random.default_rng(seed))
    assert (image == 90).all()
    red = np.argwhere(marked[..., 0].astype(int) - marked[..., 1] > 100)
    distance_px = np.hypot(*(red - np.array(tip_px)[::-1]).T)
    room = min(length, min(width, height) / 2 - MARGIN_PX)
    assert distance_px.min() <= 1
    # No longer than there is room for, and its whole length can be seen.
    assert abs(distance_px.max() - room) <= 2 + room / 40


def test_arrows_come_from_every_side_and_stand_out_from_any_ground() -> None:
    rng, tails = np.random.default_rng(0), set()
    for ground in (0, 90, 255):
        image = np.full((HEIGHT, WIDTH, 3), ground, np.uint8)
        for _ in range(40):
            marked = draw_arrow(image, (96, 64), 40, RED, rng)
            changed = np.argwhere((marked != image).any(axis=2))
            tails.add(tuple(np.sign(np.rint((changed.mean(axis=0) - (64, 96)) / 5)).astype(int).tolist()))
            contrast = np.abs(marked.astype(int) - ground).max(axis=2)
            assert (contrast > 150).sum() > 60
    assert len(tails) == 8


def test_the_same_seed_marks_the_same() -> None:
    task, view = MarkerDepthTask(MarkerDepthTaskConfig()), sample(30)
    first, again = (task.ask(view, np.random.default_rng(5)) for _ in range(2))
    assert first == again and first.images_shown is not None and again.images_shown is not None
    assert np.array_equal(first.images_shown[0], again.images_shown[0])


def test_what_cannot_be_asked_is_refused() -> None:
    task, rng = (
        MarkerDepthTask(MarkerDepthTaskConfig(templates="compact-1", depth_kind=DepthKind.RAY)),
        np.random.default_rng(0),
    )
    with pytest.raises(DataError, match="metric scale"):
        task.ask(sample(5, Scale.RELATIVE), rng)
    with pytest.raises(DataError, match="no labelled point"):
        task.ask(sample(0), rng)
    shipped = load_templates("vlm3-1")
    bare = shipped.model_copy(update={"depth": shipped.parts()["depth"] | {"marker": None}})
    with pytest.raises(ConfigError, match=r"lacks the field depth\.marker"):
        MarkerDepthTask(MarkerDepthTaskConfig(templates=bare))
    with pytest.raises(ConfigError, match="colour"):
        MarkerDepthTaskConfig.parse({"colour": [0, 0, 256]}, "study")
