"""What happens between steps: metrics to MLflow, evaluation, and the progress file."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch.distributed as dist

from vlm3.errors import DataError
from vlm3.infer.depth import DepthPredictor
from vlm3.mixture.shares import worst_share_error
from vlm3.scenes.schema import Frame
from vlm3.storage.images import decode_rgb
from vlm3.tracking.pictures import depth_overlay, mixture_chart, scatter_true_predicted
from vlm3.tracking.runs import TrackedRun
from vlm3.train.evaluate import FrameAnswers, SourceScores, ask_frame, score
from vlm3.train.loop import LoopState, StepOutcome
from vlm3.train.progress import Progress

SHARE_WINDOW = 512
PICTURED_FRAMES = 4


@dataclass(slots=True)
class StepMetrics:
    """Rank 0: loss, rates and realised shares of every step, in MLflow and the progress file."""

    run: TrackedRun
    run_dir: Path
    total_steps: int
    global_batch: int
    component_names: Sequence[str]
    asked: np.ndarray
    first_loss: float | None = None
    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def after_step(self, outcome: StepOutcome, state: LoopState) -> None:
        """Log the step."""
        stats = outcome.stats
        self.losses.append(stats.loss)
        self.seconds.append(outcome.seconds)
        if self.first_loss is None:
            self.first_loss = stats.loss
        samples_per_s = self.global_batch / outcome.seconds
        wait_share = outcome.data_wait_s / outcome.seconds
        realised = np.bincount(outcome.received[:, 1], minlength=len(self.component_names)) / self.global_batch
        values = {
            "train/loss": stats.loss,
            "train/grad_norm": stats.grad_norm,
            "train/learning_rate": stats.learning_rate,
            "train/answer_tokens": float(stats.answer_tokens),
            "data/samples_per_s": samples_per_s,
            "data/wait_share": wait_share,
            "data/replaced_total": float(state.replaced),
        } | {f"mixture/{name}": float(share) for name, share in zip(self.component_names, realised, strict=True)}
        self.run.metrics(values, outcome.step)
        Progress(outcome.step, self.total_steps, stats.loss, samples_per_s, wait_share).write(self.run_dir)

    def summary(self, state: LoopState) -> dict[str, float]:
        """Figures of the whole run, and the mixture chart."""
        components = np.concatenate(state.components) if state.components else np.empty(0, np.int64)
        realised = np.bincount(components, minlength=len(self.component_names)) / max(len(components), 1)
        self.run.figure("mixture.png", mixture_chart(list(self.component_names), self.asked, realised))
        window = max(1, min(SHARE_WINDOW, len(components)))
        tail = max(1, min(10, len(self.losses)))
        result = {
            "loss_first": self.first_loss if self.first_loss is not None else float("nan"),
            "loss_last": float(np.mean(self.losses[-tail:])) if self.losses else float("nan"),
            "samples_per_s": self.global_batch / float(np.median(self.seconds)) if self.seconds else float("nan"),
            "mixture_worst_window_error": worst_share_error(components, self.asked, window),
        }
        for name, asked, got in zip(self.component_names, self.asked, realised, strict=True):
            result |= {f"asked/{name}": float(asked), f"realised/{name}": float(got)}
        return result


@dataclass(frozen=True, slots=True)
class ReplacementLimit:
    """All ranks: stop when too many samples could not be asked about and were replaced."""

    per_1000: float
    global_batch: int

    def after_step(self, outcome: StepOutcome, state: LoopState) -> None:
        """Check after each step, once enough samples were seen to tell.

        Raises:
            DataError: above the limit.
        """
        seen = len(state.components) * self.global_batch
        if seen >= SHARE_WINDOW and state.replaced > self.per_1000 / 1000 * seen:
            raise DataError(
                f"{state.replaced} of {seen} samples could not be asked about and were replaced, more than"
                f" stream.max_replacements_per_1000 = {self.per_1000:g} allows; the log above says why each was:"
                " often the crop at tasks.depth.focal_px keeps no labelled point"
            )


@dataclass(slots=True)
class Evaluation:
    """All ranks: δ1 on held-out frames, each rank asking about its share of them."""

    predictor: Callable[[], AbstractContextManager[DepthPredictor]]
    frames: Mapping[str, Sequence[Frame]]
    """This rank's frames by source."""
    points: int
    seed: int
    every_steps: int
    total_steps: int
    run: TrackedRun | None
    """Rank 0's run; None elsewhere."""
    latest: dict[str, float] = field(default_factory=dict)

    def after_step(self, outcome: StepOutcome, state: LoopState) -> None:
        """Evaluate every `every_steps` steps and after the last."""
        if self.frames and (outcome.step % self.every_steps == 0 or outcome.step == self.total_steps):
            self.evaluate(outcome.step)

    def evaluate(self, step: int) -> dict[str, float]:
        """Scores over all ranks' frames, the same on each rank."""
        metrics: dict[str, float] = {}
        with self.predictor() as predictor:
            mine = {
                source: [ask_frame(predictor, frame, self.points, self.seed) for frame in frames]
                for source, frames in self.frames.items()
            }
        for source, own in mine.items():
            answers = _gather(own)
            scores = score(source, sorted(answers, key=lambda answer: answer.image_id), self.seed)
            metrics |= _flat(scores)
            if self.run is not None:
                self._picture(source, answers, step)
        if self.run is not None:
            self.run.metrics(metrics, step)
        self.latest = metrics
        return metrics

    def _picture(self, source: str, answers: Sequence[FrameAnswers], step: int) -> None:
        assert self.run is not None
        true = np.concatenate([answer.true_m for answer in answers])
        predicted = np.concatenate([answer.predicted_m for answer in answers])
        self.run.figure(f"evaluation/{source}/scatter-{step:06d}.png", scatter_true_predicted(true, predicted))
        for index, answer in enumerate(sorted(answers, key=lambda answer: answer.image_id)[:PICTURED_FRAMES]):
            image = decode_rgb(answer.encoded_image)
            figure = depth_overlay(image, answer.points_px, answer.true_m, answer.predicted_m)
            self.run.figure(f"evaluation/{source}/overlay-{step:06d}-{index}.png", figure)


def _flat(scores: SourceScores) -> dict[str, float]:
    prefix = f"eval/{scores.source}"
    return {
        f"{prefix}/delta1": scores.model.delta1,
        f"{prefix}/abs_rel": scores.model.abs_rel,
        f"{prefix}/rmse_m": scores.model.rmse_m,
        f"{prefix}/unreadable_share": scores.model.unreadable_share,
        f"{prefix}/constant_delta1": scores.constant.delta1,
        f"{prefix}/constant_abs_rel": scores.constant.abs_rel,
        f"{prefix}/answers": float(scores.model.count),
    }


def _gather(mine: list[FrameAnswers]) -> list[FrameAnswers]:
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return mine
    parts: list[list[FrameAnswers]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(parts, mine)
    return [answer for part in parts for answer in part]
