"""Rows are joined, without padding, into tensors whose pixels stay bytes until they are on the device."""

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from vlm3.asking.protocol import Conversation, Turn
from vlm3.tokens.batch import IGNORED_LABEL, collate
from vlm3.tokens.encode import ConversationEncoder
from vlm3.tokens.patches import patchify
from vlm3.tokens.step_row import StepRow
from vlm3.tokens.vision import VisionSpec

SIZES = [(32, 48), (48, 16), (32, 48), (64, 64)]


@pytest.fixture(scope="module")
def rows(model_dir: Path) -> list[StepRow]:
    encoder = ConversationEncoder.from_directory(model_dir)
    rng = np.random.default_rng(0)
    made = []
    for index, size in enumerate(SIZES):
        turns = tuple(Turn(f"How far is ({n}, {index})?", f"{n}.{index}") for n in range(index + 1))
        encoded = encoder.encode(Conversation(turns), [size])
        image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        image.flags.writeable = False  # as views of Arrow blocks are
        made.append(StepRow(100 + index, index % 2, int(index == 3), encoded.input_ids, encoded.loss_mask, (image,)))
    return made


@pytest.fixture(scope="module")
def spec(model_dir: Path) -> VisionSpec:
    return VisionSpec.from_directory(model_dir)


def test_rows_are_joined_and_labelled_on_answers_only(rows: list[StepRow], spec: VisionSpec) -> None:
    batch = collate(rows, spec)
    stops = np.cumsum([len(row.input_ids) for row in rows]).tolist()
    assert batch.borders.tolist() == [0, *stops]
    assert batch.input_ids.shape == batch.labels.shape == (1, stops[-1])
    assert batch.rotary.shape == (4, 1, stops[-1])
    for row, start, stop in zip(rows, [0, *stops], stops, strict=False):
        ids, labels = batch.input_ids[0, start:stop], batch.labels[0, start:stop]
        assert ids.tolist() == row.input_ids.tolist()
        assert labels.tolist() == np.where(row.loss_mask, row.input_ids, IGNORED_LABEL).tolist()
        assert batch.rotary[0, 0, start:stop].tolist() == list(range(len(ids)))
        assert torch.equal(batch.rotary[:, :, start:stop], collate([row], spec).rotary)


def test_a_first_token_is_never_an_answer_for_no_row_may_predict_the_next(
    rows: list[StepRow], spec: VisionSpec
) -> None:
    answers = [dataclasses.replace(row, loss_mask=np.ones_like(row.loss_mask)) for row in rows]
    batch = collate(answers, spec)
    first = batch.borders[:-1].tolist()
    assert (batch.labels[0] == IGNORED_LABEL).nonzero()[:, 0].tolist() == first
    assert all(row.loss_mask.all() for row in answers)


def test_positions_components_and_attempts_travel_with_the_batch(rows: list[StepRow], spec: VisionSpec) -> None:
    batch = collate(rows, spec)
    assert batch.positions.tolist() == [100, 101, 102, 103]
    assert batch.components.tolist() == [0, 1, 0, 1]
    assert batch.attempts.tolist() == [0, 0, 0, 1]


def test_pixels_are_bytes_until_the_model_inputs_are_made(rows: list[StepRow], spec: VisionSpec) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batch = collate(rows, spec)
    assert batch.pixels.dtype == torch.uint8 and batch.pixels.numel() == sum(row.images[0].size for row in rows)
    inputs = batch.to_model_inputs(torch.device("cpu"))
    expected, grid = patchify([torch.from_numpy(row.images[0].copy()) for row in rows], spec)
    assert torch.equal(inputs["pixel_values"], expected) and torch.equal(inputs["image_grid_thw"], grid)
    # No attention mask: with one, the library would no longer look for rows in the positions.
    assert set(inputs) == {
        "input_ids", "labels", "position_ids", "pixel_values", "image_grid_thw",
        "cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k",
    }  # fmt: skip
    assert inputs["position_ids"] is batch.rotary and inputs["cu_seq_lens_q"].dtype == torch.int32
    assert inputs["max_length_q"] == max(len(row.input_ids) for row in rows)


def test_a_row_whose_tokens_do_not_match_its_image_is_refused(rows: list[StepRow], spec: VisionSpec) -> None:
    wrong = StepRow(9, 0, 0, rows[0].input_ids, rows[0].loss_mask, rows[1].images)
    with pytest.raises(ValueError, match="position 9: 6 visual tokens for 16 x 48 px, expected 3"):
        collate([wrong], spec)
    with pytest.raises(ValueError, match="at least one row"):
        collate([], spec)


def test_pixels_that_lie_together_are_not_copied(rows: list[StepRow], spec: VisionSpec) -> None:
    memory = np.concatenate([np.zeros(5, np.uint8), *(row.images[0].reshape(-1) for row in rows)])
    memory.flags.writeable = False
    stops = np.cumsum([5, *(row.images[0].size for row in rows)])
    views = [memory[a:b].reshape(*size, 3) for a, b, size in zip(stops, stops[1:], SIZES, strict=False)]
    together = [dataclasses.replace(row, images=(view,)) for row, view in zip(rows, views, strict=True)]
    batch = collate(together[1:3], spec)
    assert batch.pixels.data_ptr() == views[1].__array_interface__["data"][0]
    assert torch.equal(batch.pixels, collate(rows[1:3], spec).pixels)


@pytest.mark.parametrize("order", [(1, 0), (0, 2), (0, 0)], ids=["swapped", "with a gap", "twice"])
def test_pixels_that_do_not_are_gathered(rows: list[StepRow], spec: VisionSpec, order: tuple[int, int]) -> None:
    memory = np.concatenate([row.images[0].reshape(-1) for row in rows])
    stops = np.cumsum([0, *(row.images[0].size for row in rows)])
    views = [memory[a:b].reshape(*size, 3) for a, b, size in zip(stops, stops[1:], SIZES, strict=False)]
    chosen = [dataclasses.replace(rows[i], images=(views[i],)) for i in order]
    expected = np.concatenate([rows[i].images[0].reshape(-1) for i in order])
    assert np.array_equal(collate(chosen, spec).pixels.numpy(), expected)


def test_a_window_of_a_larger_image_is_gathered(rows: list[StepRow], spec: VisionSpec) -> None:
    plane = np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)
    window = dataclasses.replace(rows[0], images=(plane[4:36, 6:54],))
    assert np.array_equal(collate([window], spec).pixels.numpy(), plane[4:36, 6:54].reshape(-1))
