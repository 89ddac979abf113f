"""Joined rows train as each would by itself, see nothing of each other, and leave the stock model as it was."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from vlm3.asking.protocol import Conversation, Turn
from vlm3.models.export import export_model
from vlm3.models.load import ModelConfig, load_model
from vlm3.models.segment_attention import NAME, attend_within_segments, segment_attention
from vlm3.tokens.batch import IGNORED_LABEL, ModelBatch, collate
from vlm3.tokens.encode import ConversationEncoder
from vlm3.tokens.patches import patchify
from vlm3.tokens.step_row import StepRow
from vlm3.tokens.vision import VisionSpec
from vlm3.train.loss import answer_loss

CPU = torch.device("cpu")
LOSS, GRADIENT = 1e-6, 1e-5
"""Relative bounds."""
Picture = Callable[[int, int, int], np.ndarray]
MakeRows = Callable[[str], list[StepRow]]
Sizes = Sequence[tuple[int, int]]
SHAPES: dict[str, list[tuple[Sizes, int]]] = {
    "mixed": [([(32, 48)], 1), ([(112, 160)], 4), ([(48, 16)], 9), ([(64, 64)], 2)],
    "two images": [([(32, 48), (64, 16)], 2), ([(48, 48)], 3), ([(16, 64), (80, 48)], 1)],
    "one row": [([(64, 48)], 3)],
    "equal": [([(32, 48)], 2), ([(32, 48)], 2), ([(32, 48)], 2)],
}
"""Rows of a micro-batch: image sizes and questions."""


@pytest.fixture(scope="module")
def spec(tiny_dir: Path) -> VisionSpec:
    return VisionSpec.from_directory(tiny_dir)


@pytest.fixture(scope="module")
def rows(tiny_dir: Path, picture: Picture) -> MakeRows:
    encoder = ConversationEncoder.from_directory(tiny_dir)

    def made(shape: str) -> list[StepRow]:
        found = []
        for index, (sizes, questions) in enumerate(SHAPES[shape]):
            turns = tuple(Turn(f"How far is ({n}{index}, {n})?", f"{index}.{n}") for n in range(questions))
            encoded = encoder.encode(Conversation(turns, images=len(sizes)), sizes)
            images = tuple(picture(*size, 10 * index + number) for number, size in enumerate(sizes))
            found.append(StepRow(index, 0, 0, encoded.input_ids, encoded.loss_mask, images))
        return found

    return made


@pytest.fixture
def model(tiny_dir: Path) -> Iterator[Any]:
    """In training; with wider weights than a fresh model's, so that what attention finds decides."""
    made = load_model(tiny_dir, ModelConfig())
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim > 1:
                parameter.mul_(2)
    yield made
    assert made.config.text_config._attn_implementation != NAME


def gradient(model: Any) -> torch.Tensor:
    found = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    model.zero_grad()
    return found


def stock_inputs(row: StepRow, spec: VisionSpec) -> dict[str, torch.Tensor]:
    """One row as the library's own processor gives it."""
    pixel_values, grid = patchify([torch.from_numpy(image) for image in row.images], spec)
    ids = torch.from_numpy(row.input_ids).long()[None]
    types = (ids == spec.image_token_id).int()
    return {"input_ids": ids, "mm_token_type_ids": types, "pixel_values": pixel_values, "image_grid_thw": grid}


def separately(model: Any, rows: Sequence[StepRow], spec: VisionSpec) -> tuple[float, torch.Tensor]:
    """Loss and gradient, summed over rows that the stock model sees one at a time."""
    total = torch.zeros(())
    for row in rows:
        logits = model(**stock_inputs(row, spec)).logits[0, :-1]
        labels = torch.from_numpy(np.where(row.loss_mask, row.input_ids, IGNORED_LABEL)).long()[1:]
        total = total + cross_entropy(logits, labels, reduction="sum")
    total.backward()
    return total.item(), gradient(model)


def hidden(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
    """(L, width) last hidden states."""
    inputs = {name: value for name, value in inputs.items() if name != "labels"}
    with torch.no_grad():
        found: torch.Tensor = model.model(**inputs, use_cache=False).last_hidden_state[0]
    return found


@pytest.mark.floats
@pytest.mark.parametrize("how", ["segments", "sdpa", "eager"])
@pytest.mark.parametrize("shape", list(SHAPES))
def test_a_joined_micro_batch_has_the_loss_and_gradient_of_its_rows_one_at_a_time(
    model: Any, rows: MakeRows, spec: VisionSpec, shape: str, how: str
) -> None:
    expected, wanted = separately(model, rows(shape), spec)
    if how == "eager":
        model.set_attn_implementation("eager")
    with nullcontext() if how == "sdpa" else segment_attention(model):
        assert (model.config.text_config._attn_implementation == NAME) == (how == "segments")
        loss = answer_loss(model, collate(rows(shape), spec).to_model_inputs(CPU))
        loss.total.backward()
    assert loss.total.item() == pytest.approx(expected, rel=LOSS)
    assert loss.rows.sum().item() == pytest.approx(expected, rel=LOSS)
    assert (gradient(model) - wanted).norm() <= GRADIENT * wanted.norm()


def changed(rows: list[StepRow], which: int, part: str) -> list[StepRow]:
    """Another image, or another first answer, in one of the rows."""
    row = rows[which]
    if part == "image":
        other = dataclasses.replace(row, images=(255 - row.images[0], *row.images[1:]))
    else:
        ids = row.input_ids.copy()
        ids[np.flatnonzero(row.loss_mask)[0]] += 1
        other = dataclasses.replace(row, input_ids=ids)
    return [*rows[:which], other, *rows[which + 1 :]]


@pytest.mark.parametrize("part", ["image", "text"])
@pytest.mark.parametrize("shape", ["mixed", "two images", "equal"])
def test_what_one_row_holds_moves_no_other_row_by_a_bit(
    model: Any, rows: MakeRows, spec: VisionSpec, shape: str, part: str
) -> None:
    for which in range(len(SHAPES[shape])):
        batches = [collate(given, spec) for given in (rows(shape), changed(rows(shape), which, part))]
        with segment_attention(model):
            before, after = (hidden(model, batch.to_model_inputs(CPU)) for batch in batches)
        moved = (before - after).abs().amax(1)
        start, stop = batches[0].borders[which : which + 2].tolist()
        assert moved[start:stop].max() > 0.01
        assert torch.cat([moved[:start], moved[stop:]]).max() == 0


def leak(model: Any, batches: Sequence[ModelBatch], **more: Any) -> float:
    """How far the rows after the first one move when only the first one changes."""
    found = []
    for batch in batches:
        inputs = batch.to_model_inputs(CPU)
        found.append(hidden(model, inputs | {name: value(inputs) for name, value in more.items()}))
    return float((found[0] - found[1])[int(batches[0].borders[1]) :].abs().max())


@pytest.mark.parametrize(
    "trap",
    [
        {"position_ids": lambda inputs: inputs["position_ids"][1:]},
        {"attention_mask": lambda inputs: torch.ones_like(inputs["input_ids"])},
    ],
    ids=["three rows of positions", "a mask of ones"],
)
def test_what_opens_the_rows_to_each_other_in_the_stock_model_does_not_in_segments(
    model: Any, rows: MakeRows, spec: VisionSpec, trap: dict[str, Any]
) -> None:
    batches = [collate(given, spec) for given in (rows("mixed"), changed(rows("mixed"), 0, "text"))]
    assert leak(model, batches, **trap) > 1e-4, "the stock model leaks here: if it no longer does, drop this test"
    assert leak(model, batches) == 0
    with segment_attention(model):
        assert leak(model, batches, **trap) == 0


def test_without_borders_segments_refuse_to_attend(model: Any, rows: MakeRows, spec: VisionSpec) -> None:
    inputs = collate(rows("mixed"), spec).to_model_inputs(CPU)
    del inputs["cu_seq_lens_q"]
    with segment_attention(model), pytest.raises(TypeError, match="cu_seq_lens_q"):
        hidden(model, inputs)


@pytest.mark.floats
def test_gradient_checkpointing_repeats_the_same_attention(
    model: Any, rows: MakeRows, spec: VisionSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def counted(*args: Any, **settings: Any) -> Any:
        calls.append(1)
        return attend_within_segments(*args, **settings)

    monkeypatch.setattr("vlm3.models.segment_attention.attend_within_segments", counted)
    batch = collate(rows("two images"), spec)
    found = []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        with segment_attention(model):
            loss = answer_loss(model, batch.to_model_inputs(CPU)).total
            loss.backward()
        found.append((loss.item(), gradient(model), len(calls)))
        calls.clear()
    (loss, wanted, once), (again, repeated, twice) = found
    assert twice == 2 * once > 0
    assert again == loss
    assert (repeated - wanted).norm() <= GRADIENT * wanted.norm()


def test_afterwards_the_model_is_the_stock_one_also_after_an_error(model: Any, spec: VisionSpec) -> None:
    configs = (model.config, model.config.text_config, model.config.vision_config)
    with pytest.raises(RuntimeError), segment_attention(model):
        assert model.model.language_model.config._attn_implementation == NAME
        assert model.config.vision_config._attn_implementation == "sdpa"
        raise RuntimeError
    assert [config._attn_implementation for config in configs] == ["sdpa"] * 3


def test_an_export_does_not_name_it(model: Any, tiny_dir: Path, tmp_path: Path) -> None:
    with segment_attention(model):
        out = export_model(model, None, tiny_dir, tmp_path / "export", {})
    assert NAME not in (out / "config.json").read_text()
    assert (out / "config.json").read_bytes() == (tiny_dir / "config.json").read_bytes()
