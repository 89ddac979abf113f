"""The covisibility graph: close to the dense answer, mixed clips, and only neighbours in large scenes."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.frames import make_frame
from vlm3.geometry.covisibility import PosedDepth, covisible_shares
from vlm3.scenes.covisible import NEIGHBOURS, covisibility_graph
from vlm3.scenes.schema import Frame
from vlm3.sources.reader import open_reader
from vlm3.sources.rooms.reader import RoomsConfig, RoomsReader

ROOMS = RoomsReader(RoomsConfig(scenes=6, frames_per_scene=5, width_px=240, height_px=180, seed=14))


def dense_graph(frames: list[Frame]) -> NDArray[np.float64]:
    """Every pixel of the full depth images."""
    views = []
    for frame in frames:
        units = cv2.imdecode(np.frombuffer(frame.full_depth.encoded_png, np.uint8), cv2.IMREAD_UNCHANGED)
        views.append(PosedDepth(units * frame.full_depth.metres_per_unit, frame.camera, frame.world_T_cam))
    shares = covisible_shares(views, np.ones((len(frames), len(frames)), bool))
    return (shares + shares.T) / 2


@pytest.mark.parametrize("scene", ["room-000000", "room-000001", "room-000003"])
def test_overlap_is_that_of_all_pixels_to_five_hundredths_whatever_the_lens(scene: str) -> None:
    frames = list(ROOMS.frames(scene))
    graph, dense = covisibility_graph(frames), dense_graph(frames)
    assert np.abs(graph - dense)[~np.eye(5, dtype=bool)].max() < 0.05
    assert dense[~np.eye(5, dtype=bool)].max() > 0.3


@pytest.mark.parametrize(("pack", "step"), [("rgbd_7scenes", 8), ("rgbd_hololens", 3)])
def test_overlap_of_real_frames_is_that_of_all_pixels_to_four_hundredths(data_dir: Path, pack: str, step: int) -> None:
    reader = open_reader(data_dir / pack)
    frames = [frame for scene in reader.scenes() for frame in reader.frames(scene) if isinstance(frame, Frame)][::step]
    graph, dense = covisibility_graph(frames), dense_graph(frames)
    apart = ~np.eye(len(frames), dtype=bool)
    assert np.abs(graph - dense)[apart].max() < 0.04
    assert dense[apart].max() > 0.3


def test_the_graph_is_symmetric_with_ones_on_the_diagonal() -> None:
    frames = list(ROOMS.frames("room-000002"))
    mixed = [replace(frame, small_depth=None) if index % 2 else frame for index, frame in enumerate(frames)]
    for graph in (covisibility_graph(frames), covisibility_graph(mixed)):
        np.testing.assert_array_equal(graph, graph.T)
        np.testing.assert_array_equal(graph.diagonal(), 1)
        assert ((graph >= 0) & (graph <= 1)).all()


def test_pairs_without_depth_on_both_sides_are_compared_by_their_frusta() -> None:
    frames = list(ROOMS.frames("room-000004"))
    bare = [replace(frame, small_depth=None) for frame in frames]
    by_depth, by_frusta = covisibility_graph(frames), covisibility_graph(bare)
    mixed = covisibility_graph([frames[0], bare[1], frames[2]])
    assert mixed[0, 1] == by_frusta[0, 1] and mixed[1, 2] == by_frusta[1, 2]
    assert mixed[0, 2] == by_depth[0, 2] != by_frusta[0, 2]


def test_in_a_large_scene_only_neighbours_are_compared() -> None:
    frames = [make_frame("corridor", number) for number in range(40)]
    graph = covisibility_graph(frames)
    compared = graph[0] > 0
    assert compared.sum() == NEIGHBOURS + 1
    assert compared[: NEIGHBOURS + 1].all()


def test_a_frame_without_a_pose_is_named() -> None:
    with pytest.raises(ValueError, match="frame 0001 of scene hall"):
        covisibility_graph([make_frame("hall", 0), make_frame("hall", 1, posed=False)])
