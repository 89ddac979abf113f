"""Answers a second about one image: the engine, the decoder it took the place of, and one stock generate a question.

`python bench/bench_engine.py [--models tiny large] [--points 1 10 100 1000] [--device cpu]` prints a table for each
model, medians of interleaved rounds: seconds, how many times as fast as the others, memory beyond the model, and a
second request about the same image, whose prefix the engine has kept. `tiny` is the preset, `large` has 80 million
parameters; any directory of a model will do.
"""

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from row_decoder import greedy

from vlm3.infer.engine import Engine
from vlm3.infer.prefix import PrefixCache
from vlm3.models.load import ModelConfig, load_model, resolve_model
from vlm3.models.tiny import TinyConfig
from vlm3.tasks.depth.task import DepthTask, DepthTaskConfig
from vlm3.tokens.encode import ConversationEncoder
from vlm3.tokens.patches import patchify
from vlm3.tokens.vision import VisionSpec

SIDE_PX = 512
NEW_TOKENS = 5
STOCK_POINTS = 4
"""Points that the stock way is timed on: its time grows in proportion."""
LARGE = TinyConfig(
    text_hidden=512,
    text_layers=20,
    text_heads=8,
    text_intermediate=1536,
    vision_hidden=384,
    vision_layers=8,
    vision_heads=6,
    vision_intermediate=1536,
    position_grid=32,
)
CACHE_BYTES = 1 << 30


class Peak:
    """The most memory of this process while the block runs, beyond what it had before, in MB."""

    def __enter__(self) -> "Peak":
        self._process, self._ended = psutil.Process(), threading.Event()
        self._before = self._most = self._process.memory_info().rss
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def _look(self) -> None:
        while not self._ended.wait(0.005):
            self._most = max(self._most, self._process.memory_info().rss)

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watch.join()
        self.mb = (self._most - self._before) / 1e6


class Ways:
    """The ways to ask one model about one image."""

    def __init__(self, model_id: str, device: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            sizes = LARGE if model_id == "large" else TinyConfig()
            config = ModelConfig(id="tiny" if model_id == "large" else model_id, tiny=sizes)
            directory = resolve_model(config, Path(folder), seed=0)
            self.model = load_model(directory, config).to(device).eval()
            self.encoder = ConversationEncoder.from_directory(directory)
            self.vision = VisionSpec.from_directory(directory)
        # Nothing stops early, so that all ways make as many tokens.
        self.model.generation_config.eos_token_id = None
        self.image = np.random.default_rng(0).integers(0, 256, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
        self.parts = (self.model, self.encoder, self.vision)

    def stock(self, questions: list[str]) -> None:
        pixels = torch.from_numpy(self.image).to(self.model.device)
        for question in questions:
            pixel_values, grid = patchify([pixels], self.vision)
            ids = torch.from_numpy(self.encoder.encode_question(question, [self.image.shape[:2]])).long()
            ids = ids.to(self.model.device)[None]
            self.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                mm_token_type_ids=(ids == self.vision.image_token_id).int(),
                pixel_values=pixel_values,
                image_grid_thw=grid,
                do_sample=False,
                max_new_tokens=NEW_TOKENS,
                min_new_tokens=NEW_TOKENS,
            )

    def rows(self, questions: list[str]) -> list[Any]:
        return greedy(*self.parts, [self.image], questions, max_new_tokens=NEW_TOKENS)

    def engine(self, questions: list[str], cache: PrefixCache | None = None) -> list[Any]:
        return Engine(*self.parts, cache).answer([self.image], questions, max_new_tokens=NEW_TOKENS)


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def row(ways: Ways, number: int, rounds: int) -> str:
    """The line of the table for so many points."""
    task = DepthTask(DepthTaskConfig())
    points = np.random.default_rng(number).uniform(0, SIDE_PX, (number, 2))
    questions = [task.question((x, y), (SIDE_PX, SIDE_PX), 1000.0) for x, y in points]
    few, cache = questions[:STOCK_POINTS], PrefixCache(CACHE_BYTES)
    with Peak() as engine_peak:
        ours = ways.engine(questions)
    with Peak() as rows_peak:
        theirs = ways.rows(questions)
    ways.engine(questions[:1], cache)
    ways.stock(few[:1])
    calls: dict[str, Callable[[], object]] = {
        "stock": lambda: ways.stock(few),
        "rows": lambda: ways.rows(questions),
        "engine": lambda: ways.engine(questions),
        "kept": lambda: ways.engine(questions, cache),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(seconds(call))
    found = {name: statistics.median(measured) for name, measured in times.items()}
    stock = found["stock"] * number / len(few)
    same = sum(one.text == other.text for one, other in zip(ours, theirs, strict=True))
    return (
        f"{number:>7} {found['engine']:>9.3f} {number / found['engine']:>9.0f} {found['rows'] / found['engine']:>7.2f}"
        f" {stock / found['engine']:>8.1f} {engine_peak.mb:>10.0f} {rows_peak.mb:>8.0f} {found['kept']:>8.3f}"
        f" {found['engine'] / found['kept']:>9.2f} {same:>4}/{number}"
    )


HEADER = (
    f"{'points':>7} {'engine s':>9} {'points/s':>9} {'x rows':>7} {'x stock':>8} {'engine MB':>10} {'rows MB':>8}"
    f" {'kept s':>8} {'x engine':>9} {'same':>9}"
)


def main() -> None:
    """Time all ways on all models, for a few numbers of points."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["tiny", "large"])
    parser.add_argument("--points", nargs="+", type=int, default=[1, 10, 100, 1000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    for model_id in options.models:
        ways = Ways(model_id, options.device)
        count = sum(parameter.numel() for parameter in ways.model.parameters())
        print(
            f"{model_id}: {count / 1e6:.1f} million parameters, {SIDE_PX} x {SIDE_PX} px, {NEW_TOKENS} tokens an"
            f" answer, {options.device}, {torch.get_num_threads()} threads, medians of {options.rounds} rounds"
        )
        print(HEADER)
        for number in options.points:
            print(row(ways, number, options.rounds), flush=True)


if __name__ == "__main__":
    main()
