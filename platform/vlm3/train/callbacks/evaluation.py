"""Evaluation on held-out frames during training: scores and pictures."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import torch.distributed as dist

from vlm3.asking.predictor import Predictor
from vlm3.asking.tables import AnswerTable, concatenate, empty, take
from vlm3.evaluation.outcomes import asked_only, outcome
from vlm3.log import get_logger
from vlm3.scenes.schema import Frame
from vlm3.tasks import IN_LOOP
from vlm3.tracking.runs import TrackedRun
from vlm3.train.evaluate import ask_frame, image_id
from vlm3.train.loop import LoopState, StepOutcome

log = get_logger(__name__)


@dataclass(slots=True)
class Evaluation:
    """Runs on all ranks: scores on held-out frames, with each rank asking about its share of them."""

    predictor: Callable[[], AbstractContextManager[Predictor]]
    frames: Mapping[str, Sequence[Frame]]
    """This rank's share of the frames, by source."""
    pictured: Mapping[str, Sequence[Frame]]
    """Frames of which rank 0 draws pictures with the answers, by source."""
    points: int
    seed: int
    every_steps: int
    total_steps: int
    run: TrackedRun | None
    """Rank 0's run; None elsewhere."""
    tell: Callable[[str], None] = lambda _: None
    """Reports what the run is doing; does nothing on ranks other than 0."""
    latest: dict[str, float] = field(default_factory=dict)

    def after_step(self, outcome: StepOutcome, state: LoopState) -> None:
        """Evaluate every `every_steps` steps and after the last one."""
        if self.frames and (outcome.step % self.every_steps == 0 or outcome.step == self.total_steps):
            self.tell("evaluating")
            self.evaluate(outcome.step)

    def conclude(self, step: int) -> dict[str, float]:
        """Scores after the last step; evaluates now if a resumed run had done all its steps already."""
        if self.frames and not self.latest:
            self.evaluate(step)
        return self.latest

    def evaluate(self, step: int) -> dict[str, float]:
        """Scores over the frames of all ranks, equal on each rank; ranks exchange answer tables, not images."""
        metrics: dict[str, float] = {}
        with self.predictor() as predictor:
            mine = {
                source: [ask_frame(predictor, frame, self.points, self.seed) for frame in frames]
                for source, frames in self.frames.items()
            }
        for source, own in mine.items():
            answers = sorted(_gather(own), key=lambda table: str(next(iter(table.item), "")))
            table = concatenate([empty(IN_LOOP.table), *answers])
            asked = asked_only(table).sound()
            metrics |= _metrics(source, table, asked, self.seed)
            if self.run is not None:
                _tell_not_asked(source, table)
                self._picture(source, asked, step)
        if self.run is not None:
            self.run.metrics(metrics, step)
        self.latest = metrics
        return metrics

    def _picture(self, source: str, asked: AnswerTable, step: int) -> None:
        assert self.run is not None
        for name, figure in IN_LOOP.plots(asked):
            self.run.figure(f"evaluation/{source}/{name}-{step:06d}.png", figure)
        for index, frame in enumerate(self.pictured[source]):
            item = IN_LOOP.held_out_item(image_id(frame), frame, self.points, self.seed)
            overlay = IN_LOOP.overlay(item, take(asked, asked.item == item.id))
            if overlay is not None:
                self.run.figure(f"evaluation/{source}/overlay-{step:06d}-{index}.png", overlay)


def _metrics(source: str, table: AnswerTable, asked: AnswerTable, seed: int) -> dict[str, float]:
    counts = {"answers": float(len(asked)), "not_asked_count": float(len(table) - len(asked))}
    return {f"eval/{source}/{name}": value for name, value in (IN_LOOP.loop_figures(asked, seed) | counts).items()}


def _tell_not_asked(source: str, table: AnswerTable) -> None:
    """Log what was not asked, as the report of a benchmark says it; a warning if nothing is left to score."""
    # Cut and refused answers are left out: a model in training often writes too much.
    found = replace(outcome(source, table), cut=0, refused=0)
    level = logging.INFO if found.questions > found.not_asked else logging.WARNING
    for note in found.notes():
        log.log(level, "evaluation: %s", note)


def _gather(mine: list[AnswerTable]) -> list[AnswerTable]:
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return mine
    parts: list[list[AnswerTable]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(parts, mine)
    return [table for part in parts for table in part]
