"""Answers a second: one prefill of the image for all its questions, against one stock generate a point.

`python bench/bench_decode.py [MODEL_DIR] [DEVICE]` prints one table; the tiny preset on the CPU by default.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from vlm3.infer.decode import greedy
from vlm3.models.load import ModelConfig, load_model, resolve_model
from vlm3.tasks.depth.task import DepthTask, DepthTaskConfig
from vlm3.tokens.encode import ConversationEncoder
from vlm3.tokens.patches import patchify
from vlm3.tokens.vision import VisionSpec

SIZES = ((112, 160), (448, 512))
POINTS = (1, 10, 100)
NEW_TOKENS = 5
STOCK_POINTS = 5
"""Points that the stock way is timed on: its time grows in proportion."""


def seconds(call: Callable[[], object], device: str) -> float:
    """Best of three, after one to warm up."""
    times = []
    for _ in range(4):
        start = time.perf_counter()
        call()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def main() -> None:
    """Time both ways for a few image sizes and numbers of points."""
    device = sys.argv[2] if len(sys.argv) > 2 else "cpu"
    with tempfile.TemporaryDirectory() as folder:
        config = ModelConfig(id=sys.argv[1] if len(sys.argv) > 1 else "tiny")
        directory = resolve_model(config, Path(folder), seed=0)
        model = load_model(directory, config).to(device).eval()
        encoder, spec = ConversationEncoder.from_directory(directory), VisionSpec.from_directory(directory)
    # Nothing stops early, so that both ways make as many tokens.
    model.generation_config.eos_token_id = None
    task, rng = DepthTask(DepthTaskConfig()), np.random.default_rng(0)
    print(f"{NEW_TOKENS} tokens an answer, {device}, {torch.get_num_threads()} threads")
    print(f"{'image':>10} {'points':>7} {'stock ms/point':>15} {'shared ms/point':>16} {'faster':>7}")
    for height, width in SIZES:
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        for count in POINTS:
            points = rng.uniform((0, 0), (width, height), (count, 2))
            questions = [task.question((x, y), (width, height), 1000.0) for x, y in points]

            def stock(image: np.ndarray = image, questions: list[str] = questions[:STOCK_POINTS]) -> None:
                pixels = torch.from_numpy(image).to(device)
                for question in questions:
                    pixel_values, grid = patchify([pixels], spec)
                    ids = torch.from_numpy(encoder.encode_question(question, [image.shape[:2]])).long().to(device)[None]
                    model.generate(
                        input_ids=ids,
                        attention_mask=torch.ones_like(ids),
                        mm_token_type_ids=(ids == spec.image_token_id).int(),
                        pixel_values=pixel_values,
                        image_grid_thw=grid,
                        do_sample=False,
                        max_new_tokens=NEW_TOKENS,
                        min_new_tokens=NEW_TOKENS,
                    )

            def shared(image: np.ndarray = image, questions: list[str] = questions) -> None:
                greedy(model, encoder, spec, [image], questions, max_new_tokens=NEW_TOKENS)

            one = 1e3 * seconds(stock, device) / min(count, STOCK_POINTS)
            many = 1e3 * seconds(shared, device) / count
            print(f"{width:>5}x{height:<4} {count:>7} {one:>15.2f} {many:>16.2f} {one / many:>7.1f}")


if __name__ == "__main__":
    main()
