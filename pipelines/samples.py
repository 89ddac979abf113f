"""Positions of the stream become samples: read a clip, unify, ask, tokenise.

No Ray here: tests and tools call it directly.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from vlm3.errors import DataError
from vlm3.log import get_logger
from vlm3.mixture.plan import MAX_ATTEMPTS, Draw, MixturePlan
from vlm3.scenes.schema import Frame
from vlm3.scenes.sharded import DEPTH_COLUMNS, ShardedSource
from vlm3.storage.split import Split
from vlm3.tasks.depth import DepthTask
from vlm3.tasks.protocol import Conversation
from vlm3.tokens.batch import StepRow
from vlm3.tokens.encode import ConversationEncoder
from vlm3.views.sample import view_sample
from vlm3.views.samples import ViewSample
from vlm3.views.unify import UnifyPolicy, unify

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Component:
    """One (source, task) of the mixture."""

    name: str
    source: ShardedSource
    task: DepthTask
    policy: UnifyPolicy


@dataclass(frozen=True, slots=True)
class AskedSample:
    """A sample with its conversation, before tokens."""

    draw: Draw
    sample: ViewSample
    conversation: Conversation


@dataclass(frozen=True)
class SampleBuilder:
    """The pure function from stream positions to training rows."""

    plan: MixturePlan
    components: tuple[Component, ...]
    model_dir: Path

    def asked(self, start: int, stop: int) -> Iterator[AskedSample]:
        """Samples of positions [start, stop), in order; each clip is read once.

        A sample that cannot be asked about (no label is left inside the crop, say) is replaced by another element of
        the same component, so shares hold and replays agree.

        Raises:
            DataError: a shard is unreadable, or `MAX_ATTEMPTS` replacements in a row cannot be asked about.
        """
        clips: dict[tuple[int, int], tuple[Frame, ...]] = {}
        for position in range(start, stop):
            yield self._asked(position, clips)

    def rows(self, start: int, stop: int) -> Iterator[StepRow]:
        """Tokenised training rows of positions [start, stop)."""
        encoder = _encoder(self.model_dir)
        for item in self.asked(start, stop):
            image = item.sample.image
            encoded = encoder.encode(item.conversation, [(image.shape[0], image.shape[1])])
            yield StepRow(
                position=item.draw.position,
                component=item.draw.component,
                attempt=item.draw.attempt,
                input_ids=encoded.input_ids,
                loss_mask=encoded.loss_mask,
                image=image,
            )

    def _asked(self, position: int, clips: dict[tuple[int, int], tuple[Frame, ...]]) -> AskedSample:
        reasons = []
        for attempt in range(MAX_ATTEMPTS + 1):
            draw = self.plan.sample(position, attempt)
            component = self.components[draw.component]
            key = (draw.component, draw.clip)
            if key not in clips:
                clips[key] = component.source.read_clip(Split.TRAIN, draw.clip, DEPTH_COLUMNS)
            frames = clips[key]
            frame = frames[draw.slot % len(frames)]
            try:
                return AskedSample(draw, *_ask(frame, component, draw))
            except DataError as error:
                reasons.append(str(error))
                log.warning("position %d, attempt %d: %s", position, attempt, error)
        raise DataError(
            f"position {position}: {len(reasons)} samples in a row of {component.name} cannot be asked about,"
            f" last: {reasons[-1]}"
        )


def _ask(frame: Frame, component: Component, draw: Draw) -> tuple[ViewSample, Conversation]:
    unified = unify(frame.encoded_image, frame.camera, component.policy)
    sample = view_sample(frame, unified, component.task.config.depth_kind, draw.position)
    return sample, component.task.ask(sample, np.random.default_rng(draw.seed))


@lru_cache(maxsize=4)
def _encoder(model_dir: Path) -> ConversationEncoder:
    """One encoder a process: loading a tokenizer costs more than encoding thousands of samples."""
    return ConversationEncoder.from_directory(model_dir)
