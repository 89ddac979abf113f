"""The champion of a registry answers one question about a frame."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from serve.app import ServeConfig
from serve.once import answer_once
from vlm3.asking.predictor import Predictor
from vlm3.errors import ConfigError, DataError
from vlm3.geometry.depth import DepthKind, convert_depth
from vlm3.scenes.schema import Frame
from vlm3.tasks.depth.answering import answer_depth
from vlm3.tracking.config import TrackingConfig
from vlm3.tracking.registry import promote_if_better, register
from vlm3.tracking.runs import start_run


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory, export_dir: Path) -> Path:
    """Two versions of which the first is champion."""
    folder = tmp_path_factory.mktemp("runs")
    config = TrackingConfig()
    for value in (0.6, 0.5):
        with start_run(config, folder, "serve", "train") as run:
            version = register(config, run.uri, run.run_id, export_dir, "delta1", value, "held out")
            promote_if_better(config, run.uri, version, "delta1", value)
    return folder


@pytest.mark.floats
def test_one_line_has_question_answer_truth_and_version(
    ray_session: None, runs_dir: Path, frame: Frame, predictor: Predictor
) -> None:
    line = answer_once(TrackingConfig(), runs_dir, frame, points=2)
    points_px, depth_m = frame.points[:2, :2].astype(np.float64), frame.points[:2, 2]
    truth_m = convert_depth(depth_m, points_px, frame.camera, frame.depth_kind, DepthKind.RAY)
    expected = answer_depth(predictor, frame.encoded_image, frame.camera, points_px)
    assert "\n" not in line and "vlm3-depth version 1" in line
    assert re.findall(r"truth ([0-9.]+) m", line) == [f"{true:.2f}" for true in truth_m]
    for answer, (u, v) in zip(expected, points_px, strict=True):
        said = repr(answer.text) if answer.ray_depth_m is None else f"{answer.ray_depth_m:.2f} m"
        assert f"({u:.0f}, {v:.0f})" in line and said in line


def test_an_alias_is_pinned_to_the_version_it_names(runs_dir: Path, export_dir: Path) -> None:
    config = ServeConfig(runs_dir=str(runs_dir))
    assert (config.model, config.pinned().model) == ("models:/vlm3-depth@champion", "models:/vlm3-depth/1")
    local = ServeConfig(runs_dir=str(runs_dir), model=str(export_dir))
    assert local.pinned().model == str(export_dir.resolve())


def test_no_point_and_no_champion_are_user_errors(tmp_path: Path, frame: Frame) -> None:
    bare = dataclasses.replace(frame, points=np.empty((0, 3), np.float32))
    with pytest.raises(DataError, match="no labelled point"):
        answer_once(TrackingConfig(), tmp_path, bare)
    with pytest.raises(ConfigError, match="train a model first"):
        answer_once(TrackingConfig(), tmp_path, frame)
