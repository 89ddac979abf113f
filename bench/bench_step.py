"""Forward and backward of a step, its rows joined against padded to the longest of the micro-batch: one table.

`python bench/bench_step.py [MODEL_DIR]`; the tiny preset by default. One thread of the CPU.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from vlm3.asking.protocol import Conversation, Turn
from vlm3.models.load import ModelConfig, load_model, resolve_model
from vlm3.models.segment_attention import segment_attention
from vlm3.stream.dealing import split_rows
from vlm3.tasks.depth.task import DepthTask, DepthTaskConfig
from vlm3.tokens.batch import ModelBatch, collate
from vlm3.tokens.encode import ConversationEncoder
from vlm3.tokens.step_row import StepRow
from vlm3.tokens.vision import VisionSpec
from vlm3.train.loss import answer_loss, predicting_positions

CPU = torch.device("cpu")
SAMPLES, MICRO_BATCH = 32, 16
ROUNDS = 9
ROOMS = [(128, 160), (96, 128), (64, 96), (48, 64)]
"""Height and width of the default recipe's images, one a camera."""
LARGER = [*ROOMS, (192, 256), (256, 192)]
Rows = list[StepRow]


def make_rows(encoder: ConversationEncoder, mixed: bool) -> Rows:
    """The default recipe's samples, of ten questions about one image; or one to ten about one image or two."""
    rng = np.random.default_rng(0)
    task = DepthTask(DepthTaskConfig(reference_range=100, decimals=1, templates="compact-1"))
    rows = []
    for number in range(SAMPLES):
        sizes = LARGER if mixed else ROOMS
        shown = [sizes[index] for index in rng.integers(len(sizes), size=1 + int(mixed and number % 4 == 0))]
        height, width = shown[0]
        points = rng.uniform((0, 0), (width, height), (rng.integers(1, 11) if mixed else 10, 2))
        turns = [Turn(task.question((x, y), (width, height), 70.0), f"{rng.uniform(0.5, 9):.1f}") for x, y in points]
        encoded = encoder.encode(Conversation(tuple(turns), images=len(shown)), shown)
        images = tuple(rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in shown)
        rows.append(StepRow(number, 0, 0, encoded.input_ids, encoded.loss_mask, images))
    return rows


def joined_step(model: Any, batches: Sequence[ModelBatch]) -> None:
    """As the engine computes it."""
    with segment_attention(model):
        for batch in batches:
            answer_loss(model, batch.to_model_inputs(CPU)).total.backward()


def padded_step(model: Any, batches: Sequence[ModelBatch]) -> None:
    """The usual way: rows beside each other, filled up to the longest one, with a mask."""
    for batch in batches:
        inputs, lengths = batch.to_model_inputs(CPU), batch.borders.diff().tolist()
        ids, labels = (inputs[name][0].split(lengths) for name in ("input_ids", "labels"))
        padded_ids, padded_labels = pad_sequence(ids, True, 0), pad_sequence(labels, True, -100)
        scored = predicting_positions(padded_labels)
        logits = model(
            input_ids=padded_ids,
            attention_mask=pad_sequence([torch.ones_like(row) for row in ids], True, 0),
            mm_token_type_ids=(padded_ids == batch.spec.image_token_id).int(),
            pixel_values=inputs["pixel_values"],
            image_grid_thw=inputs["image_grid_thw"],
            logits_to_keep=scored,
            use_cache=False,
        ).logits
        cross_entropy(logits.float(), padded_labels[:, 1:][scored[:, :-1]], reduction="sum").backward()


STEPS: dict[str, Callable[[Any, Sequence[ModelBatch]], None]] = {"padded": padded_step, "joined": joined_step}


def main() -> None:
    """Time both ways in turn, after one to warm up."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        config = ModelConfig(id=sys.argv[1] if len(sys.argv) > 1 else "tiny")
        directory = resolve_model(config, Path(folder), seed=0)
        model = load_model(directory, config)
        encoder, spec = ConversationEncoder.from_directory(directory), VisionSpec.from_directory(directory)
    print(f"{SAMPLES} samples in micro-batches of {MICRO_BATCH}, one thread, medians of {ROUNDS} in turn, CPU time")
    print(f"{'rows':>14} {'tokens':>7} {'filled up':>9} {'padded ms':>10} {'joined ms':>10} {'faster':>7}")
    for name, mixed in (("rooms", False), ("mixed", True)):
        rows = make_rows(encoder, mixed)
        batches = [collate(rows[part], spec) for part in split_rows(len(rows), SAMPLES // MICRO_BATCH)]
        tokens = sum(int(batch.borders[-1]) for batch in batches)
        filled = sum((len(batch.borders) - 1) * int(batch.borders.diff().max()) for batch in batches) - tokens
        times: dict[str, list[float]] = {way: [] for way in STEPS}
        for _ in range(ROUNDS + 1):
            for way, step in STEPS.items():
                started = time.process_time()
                step(model, batches)
                times[way].append(1e3 * (time.process_time() - started))
                model.zero_grad()
        padded, joined = (statistics.median(times[way][1:]) for way in ("padded", "joined"))
        print(f"{name:>14} {tokens:>7} {filled:>9} {padded:>10.0f} {joined:>10.0f} {padded / joined:>7.2f}")


if __name__ == "__main__":
    main()
