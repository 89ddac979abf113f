"""The exported directory alone, with stock classes and a unified image, gives the same tokens, patches and answer."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoTokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from vlm3.asking.predictor import Predictor
from vlm3.asking.spec import AskSpec
from vlm3.infer.loading import load_predictor
from vlm3.infer.local_model import LocalModel
from vlm3.models.export import export_model
from vlm3.scenes.schema import Frame
from vlm3.sources.rooms.reader import RoomsConfig, RoomsReader
from vlm3.tasks.depth.answering import answer_depth
from vlm3.tasks.depth.task import AskedDepth, DepthTask, DepthTaskConfig
from vlm3.tasks.spec_file import spec_json
from vlm3.tokens.patches import patchify
from vlm3.views.unify import UnifiedView, unify

FOCAL_PX = 70.0
TASK = DepthTask(DepthTaskConfig(reference_range=100, decimals=1, templates="compact-1"))


@pytest.fixture(scope="module")
def predictor(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    ask = AskSpec((AskedDepth(focal_px=FOCAL_PX, ask=TASK.config),))
    out = tmp_path_factory.mktemp("export") / "model"
    export_model(trained.model, None, trained.directory, out, {"vlm3.json": spec_json(ask)})
    return load_predictor(out, "cpu")


@pytest.fixture(scope="module")
def local(predictor: Predictor) -> LocalModel:
    assert isinstance(predictor.model, LocalModel)
    return predictor.model


@pytest.fixture(scope="module")
def export_dir(local: LocalModel) -> Path:
    return Path(local.model.name_or_path)


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    """Rendered by several cameras, some of which distort."""
    reader = RoomsReader(RoomsConfig(scenes=6, frames_per_scene=1, seed=3), "rooms")
    found = [frame for scene in reader.scenes() for frame in reader.frames(scene) if isinstance(frame, Frame)]
    assert len({frame.camera for frame in found}) > 1
    return found


@pytest.fixture(scope="module")
def views(predictor: Predictor, frames: list[Frame]) -> list[UnifiedView]:
    return [unify(frame.encoded_image, frame.camera, predictor.policy(FOCAL_PX)) for frame in frames]


@pytest.mark.floats
def test_stock_image_processor_gives_the_same_grid_and_patches(
    local: LocalModel, export_dir: Path, views: list[UnifiedView]
) -> None:
    stock = Qwen2VLImageProcessorPil.from_pretrained(export_dir)
    expected = stock(images=[Image.fromarray(view.image) for view in views], return_tensors="pt")
    pixel_values, grid = patchify([torch.from_numpy(view.image) for view in views], local.vision)
    assert torch.equal(grid, expected["image_grid_thw"])
    torch.testing.assert_close(pixel_values, expected["pixel_values"], atol=1e-6, rtol=0)


@pytest.mark.floats
def test_stock_pieces_alone_give_the_same_tokens_and_answer(
    predictor: Predictor,
    local: LocalModel,
    trained: Any,
    export_dir: Path,
    frames: list[Frame],
    views: list[UnifiedView],
) -> None:
    model = AutoModelForImageTextToText.from_pretrained(export_dir)
    tokenizer, processor = (
        AutoTokenizer.from_pretrained(export_dir),
        Qwen2VLImageProcessorPil.from_pretrained(export_dir),
    )
    for frame, view in zip(frames, views, strict=True):
        height, width = view.image.shape[:2]
        point = np.array([[frame.camera.width_px / 3, frame.camera.height_px / 2]])
        ((x, y),) = view.map_points(point).tolist()
        question = TASK.question((x, y), (width, height), FOCAL_PX)
        content = [{"type": "image"}, {"type": "text", "text": question}]
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        image = processor(images=[Image.fromarray(view.image)], return_tensors="pt")
        visual = int(image["image_grid_thw"].prod()) // processor.merge_size**2
        inputs = tokenizer(text.replace("<|image_pad|>", "<|image_pad|>" * visual), return_tensors="pt")
        ids = inputs["input_ids"]
        assert ids[0].tolist() == local.encoder.encode_question(question, [(height, width)]).tolist()
        assert inputs["attention_mask"].all()
        visual = {name: image[name] for name in ("pixel_values", "image_grid_thw")}
        likeliest = replace(trained, model=model).likeliest(ids[0], [], 16, **visual)
        answers = {tokenizer.decode(tokens, skip_special_tokens=True) for tokens in likeliest}
        assert answer_depth(predictor, frame.encoded_image, frame.camera, point)[0].text in answers
