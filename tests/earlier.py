"""Files that an earlier version wrote, unpacked; tests/fixtures/earlier/README.md says what they are."""

import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache as tracking_places

from pipelines.sources import components, source_uri
from vlm3.asking.object_questions import ObjectQuestion
from vlm3.asking.text_model import TextRequest
from vlm3.infer.loading import load_predictor
from vlm3.mixture.plan import MixturePlan
from vlm3.models.load import ModelConfig, load_model
from vlm3.scenes.sharded import ShardedSource
from vlm3.sources.reader import open_reader
from vlm3.stream.clip_reader import ClipReader
from vlm3.stream.samples import SampleBuilder, keep_encoder
from vlm3.tasks.depth.task import AskedDepth
from vlm3.tasks.objects.task import AskedObjects
from vlm3.tasks.pose.task import AskedPose, PoseQuestion
from vlm3.tokens.batch import collate
from vlm3.tokens.encode import ConversationEncoder
from vlm3.tokens.vision import VisionSpec
from vlm3.train.loss import answer_loss
from vlm3.train.recipe import Recipe, load_recipe
from vlm3.views.unify import unify

FOLDER = Path(__file__).parent / "fixtures" / "earlier"
STOPPED_STEPS = "train.steps=30"
"""Of the run that was stopped."""
TOKENS = 12
"""Of each answer; short enough for any bound of any version."""
POINTS_PX = ((3.0, 4.0), (40.0, 30.0), (60.0, 12.0))
"""Of the unified image."""
REGIONS_PX = ((2.0, 3.0, 20.0, 15.0), (25.0, 8.0, 40.0, 30.0))
"""Of the unified image."""
POSITIONS = 24
"""Of the stream; beyond the first change of weights."""


def unpack(folder: Path) -> Path:
    """`yard` and `marks` as they were ingested, and `runs`."""
    # MLflow remembers the place of a run's files as long as the process lives, and each copy has the same runs.
    tracking_places.clear()
    with tarfile.open(FOLDER / "651f415.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="session")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For tests that only read."""
    return unpack(tmp_path_factory.mktemp("earlier"))


@pytest.fixture(scope="session")
def said() -> dict[str, Any]:
    """What the version that wrote them makes of them."""
    found: dict[str, Any] = json.loads((FOLDER / "said.json").read_text(encoding="utf-8"))
    return found


def recipe_of(*overrides: str) -> Recipe:
    """The recipe of both runs."""
    return load_recipe(FOLDER / "recipe.yaml", overrides)


def answers(export: Path, marks: Path) -> dict[str, list[list[Any]]]:
    """By task: questions as this version words them, and the most likely answers."""
    predictor = load_predictor(export, "cpu")
    ask = predictor.ask
    depth, pose, objects = (ask.needed(kind).build() for kind in (AskedDepth, AskedPose, AskedObjects))
    focal_px = {task: ask.needed(kind).focal_px for task, kind in ((depth, AskedDepth), (pose, AskedPose))}
    views = []
    for name in ("plain", "slow"):
        (frame,) = open_reader(marks, "marks").frames(name)
        views.append(unify(frame.encoded_image, frame.camera, predictor.policy(focal_px[depth])))
    size_px = (views[0].image.shape[1], views[0].image.shape[0])
    asked = {
        depth: (1, [depth.question(point, size_px, focal_px[depth]) for point in POINTS_PX]),
        pose: (2, [pose.question(kind, focal_px[pose]) for kind in PoseQuestion]),
        objects: (1, [objects.question(kind, REGIONS_PX[: kind.objects], size_px) for kind in ObjectQuestion]),
    }
    found = {}
    for task, (images, questions) in asked.items():
        shown = tuple(view.image for view in views[:images])
        replies = predictor.model.answer(TextRequest(task.name, shown, tuple(questions), task.system, TOKENS))
        found[task.name] = [[question, reply] for question, reply in zip(questions, replies, strict=True)]
    return found


def samples(runs: Path) -> list[dict[str, Any]]:
    """The first samples of the stopped run's stream: what they are, and how likely the exported model finds them."""
    recipe = load_recipe(FOLDER / "recipe.yaml")
    export = runs / "train" / "done" / "export"
    model, vision = load_model(export, ModelConfig(id=str(export))).eval(), VisionSpec.from_directory(export)
    encoder = ConversationEncoder.from_directory(export)
    sources = {name: ShardedSource.open(source_uri(recipe, name, runs)) for name in recipe.sources}
    parts, _ = components(recipe, sources, vision)
    plan = MixturePlan.from_json((runs / "train" / "stopped" / "plan.json").read_text())
    found = []
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        builder = SampleBuilder(ClipReader(parts, 1), keep_encoder(encoder, Path(folder)))
        rows = [row for parcel in builder.rows(plan, [np.arange(POSITIONS)]) for row in parcel.rows]
        for row, seed in zip(rows, plan.draws(0, POSITIONS).seed.tolist(), strict=True):
            batch = collate([row], vision)
            loss = answer_loss(model, batch.to_model_inputs(torch.device("cpu")))
            found.append(
                {
                    "position": row.position,
                    "component": parts[row.component].name,
                    "attempt": row.attempt,
                    "seed": str(seed),
                    "text": encoder.decode(row.input_ids[row.input_ids != vision.image_token_id].tolist()),
                    "brightness": [float(image.mean()) for image in row.images],
                    "loss": float(loss.total) / int(loss.tokens.sum()),
                }
            )
    return found
