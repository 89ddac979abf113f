"""A rendered frame, and a server that answers for all tests of a module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from serve.app import ServeConfig
from serve.once import HOST, free_port
from serve.running import running
from vlm3.asking.predictor import Predictor
from vlm3.infer.loading import load_predictor
from vlm3.scenes.schema import Frame
from vlm3.sources.rooms.reader import RoomsConfig, RoomsReader


@pytest.fixture(scope="session")
def frame() -> Frame:
    rooms = RoomsReader(RoomsConfig(scenes=1, frames_per_scene=1, width_px=96, height_px=72))
    return next(frame for frame in rooms.frames(rooms.scenes()[0]) if isinstance(frame, Frame))


@pytest.fixture(scope="session")
def predictor(export_dir: Path) -> Predictor:
    return load_predictor(export_dir, "cpu")


@pytest.fixture(scope="module")
def url(ray_session: None, export_dir: Path) -> Iterator[str]:
    config = ServeConfig(runs_dir=str(export_dir.parent), model=str(export_dir))
    with running(config, HOST, free_port()) as base:
        yield base
