"""δ1 on held-out frames while training goes on, with pictures."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch.distributed as dist

from vlm3.asking.predictor import Predictor
from vlm3.evaluation.outcomes import Outcome
from vlm3.log import get_logger
from vlm3.scenes.schema import Frame
from vlm3.storage.images import decode_rgb
from vlm3.tracking.runs import TrackedRun
from vlm3.train.evaluate import FrameAnswers, SourceScores, ask_frame, image_id, joined, score
from vlm3.train.loop import LoopState, StepOutcome

log = get_logger(__name__)


@dataclass(slots=True)
class Evaluation:
    """All ranks: δ1 on held-out frames, each rank asking about its share of them."""

    predictor: Callable[[], AbstractContextManager[Predictor]]
    frames: Mapping[str, Sequence[Frame]]
    """This rank's frames by source."""
    pictured: Mapping[str, Sequence[Frame]]
    """Frames by source whose answers rank 0 pictures."""
    points: int
    seed: int
    every_steps: int
    total_steps: int
    run: TrackedRun | None
    """Rank 0's run; None elsewhere."""
    tell: Callable[[str], None] = lambda _: None
    """Says what goes on, on rank 0."""
    latest: dict[str, float] = field(default_factory=dict)

    def after_step(self, outcome: StepOutcome, state: LoopState) -> None:
        """Evaluate every `every_steps` steps and after the last."""
        if self.frames and (outcome.step % self.every_steps == 0 or outcome.step == self.total_steps):
            self.tell("evaluating")
            self.evaluate(outcome.step)

    def conclude(self, step: int) -> dict[str, float]:
        """Scores after the last step: asked for now where a run goes on that had done all its steps before."""
        if self.frames and not self.latest:
            self.evaluate(step)
        return self.latest

    def evaluate(self, step: int) -> dict[str, float]:
        """Scores over all ranks' frames, the same on each rank; only numbers go from rank to rank."""
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
                _tell_not_asked(scores)
                self._picture(source, answers, step)
        if self.run is not None:
            self.run.metrics(metrics, step)
        self.latest = metrics
        return metrics

    def _picture(self, source: str, answers: Sequence[FrameAnswers], step: int) -> None:
        from vlm3.pictures.drawing import depth_overlay, scatter_true_predicted

        assert self.run is not None
        self.run.figure(f"evaluation/{source}/scatter-{step:06d}.png", scatter_true_predicted(*joined(answers)))
        by_id = {answer.image_id: answer for answer in answers}
        for index, frame in enumerate(self.pictured[source]):
            answer = by_id[image_id(frame)]
            image = decode_rgb(frame.encoded_image)
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
        f"{prefix}/not_asked_count": float(scores.not_asked),
    }


def _tell_not_asked(scores: SourceScores) -> None:
    """The line that the report of a benchmark would have; a warning where nothing is left to score."""
    asked, left_out = scores.model.count, scores.not_asked
    outcome = Outcome(scores.source, "depth", asked + left_out, left_out, unreadable=0, cut=0, refused=0)
    for note in outcome.notes():
        log.log(logging.INFO if asked else logging.WARNING, "evaluation: %s", note)


def _gather(mine: list[FrameAnswers]) -> list[FrameAnswers]:
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return mine
    parts: list[list[FrameAnswers]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(parts, mine)
    return [answer for part in parts for answer in part]
