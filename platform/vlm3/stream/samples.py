"""The second stage of the stream: makes training rows from stored frames (decode, unify, ask, tokenise).

No Ray here: tests and tools call it directly.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vlm3.asking.protocol import Conversation
from vlm3.errors import DataError
from vlm3.log import get_logger
from vlm3.mixture.plan import MixturePlan
from vlm3.scenes.checks import stored_fault
from vlm3.scenes.schema import Frame
from vlm3.storage.counters import storage_use
from vlm3.storage.store import open_store
from vlm3.stream.clip_reader import ClipReader, Component, stored_frames, used_up
from vlm3.stream.parcels import Cost, EncodedParcel, RowParcel
from vlm3.stream.quarantine import Fault, FaultKind
from vlm3.tokens.encode import ConversationEncoder
from vlm3.tokens.step_row import StepRow
from vlm3.views.pair_sample import pair_sample
from vlm3.views.sample import view_sample
from vlm3.views.samples import PairSample, ViewSample
from vlm3.views.unify import unify

log = get_logger(__name__)
ENCODER_FILE = "encoder.json"


@dataclass(frozen=True, slots=True)
class AskedSample:
    """A sample with its conversation, not tokenised yet."""

    position: int
    component: int
    attempt: int
    sample: ViewSample | PairSample
    conversation: Conversation


@dataclass(frozen=True, slots=True)
class SampleBuilder:
    """The pure function from stream positions to training rows."""

    reader: ClipReader
    encoder_file: Path
    """File that `keep_encoder` wrote."""

    @property
    def components(self) -> tuple[Component, ...]:
        """Components of the mixture, in its order."""
        return self.reader.components

    def build(self, parcel: EncodedParcel, plan: Callable[[], MixturePlan]) -> RowParcel:
        """Training rows of a parcel.

        Args:
            parcel: from `ClipReader.parcels`.
            plan: returns the plan of these positions; called only if a sample is bad.

        Raises:
            DataError, StorageError: for the reasons in `ClipReader.parcels`.
        """
        started, used = time.perf_counter(), storage_use()
        encoder = _encoder(self.encoder_file)
        rows, faults = [], list(parcel.faults)
        for item, bad in self._asked(parcel, plan):
            faults += bad
            images = item.conversation.images_shown or tuple(view.image for view in item.sample.views)
            encoded = encoder.encode(item.conversation, [(image.shape[0], image.shape[1]) for image in images])
            rows.append(
                StepRow(item.position, item.component, item.attempt, encoded.input_ids, encoded.loss_mask, images)
            )
        more = storage_use().since(used)
        spent = Cost(more.requests, more.bytes_read, sum(more.retries.values()), 0.0, time.perf_counter() - started)
        return RowParcel(tuple(rows), tuple(faults), parcel.cost + spent)

    def asked(self, plan: MixturePlan, groups: Sequence[NDArray[np.int64]]) -> Iterator[AskedSample]:
        """Samples of groups of positions with their conversations. Raises the errors of `build`."""
        for parcel in self.reader.parcels(plan, groups):
            for item, _ in self._asked(parcel, lambda: plan):
                yield item

    def rows(self, plan: MixturePlan, groups: Sequence[NDArray[np.int64]]) -> Iterator[RowParcel]:
        """Training rows of groups of positions, by both stages in one. Raises the errors of `build`."""
        for parcel in self.reader.parcels(plan, groups):
            yield self.build(parcel, lambda: plan)

    def _asked(
        self, parcel: EncodedParcel, plan: Callable[[], MixturePlan]
    ) -> Iterator[tuple[AskedSample, list[Fault]]]:
        """Each sample, with the faults of the bad samples that it replaces.

        A bad sample is replaced by another element of the same component, so that shares hold and replays agree.
        """
        frames = iter(stored_frames(parcel.frames))
        columns = (parcel.position, parcel.component, parcel.attempt, parcel.seed, parcel.views, parcel.overlap)
        for position, component, attempt, seed, views, overlap in zip(*(c.tolist() for c in columns), strict=True):
            faults: list[Fault] = []
            draw = _Draw(self.components[component], position, attempt, seed, overlap)
            current = list(islice(frames, views))
            while isinstance(made := _make(current, draw), Fault):
                log.warning("position %d, attempt %d: %s: %s", position, draw.attempt, made.item, made.reason)
                faults.append(made)
                stored, more = self.reader.replacement(plan(), position, draw.attempt)
                faults += more
                if stored is None:
                    raise used_up(faults)
                draw = replace(draw, attempt=stored.attempt, seed=stored.seed, overlap=stored.overlap)
                current = stored_frames(stored.frames)
            yield AskedSample(position, component, draw.attempt, *made), faults


@dataclass(frozen=True, slots=True)
class _Draw:
    """The draw of a sample that is about to be made."""

    component: Component
    position: int
    attempt: int
    seed: int
    overlap: float


def _make(frames: Sequence[Frame | Exception], draw: _Draw) -> tuple[ViewSample | PairSample, Conversation] | Fault:
    """The sample made of one or two frames with its conversation, or the fault that prevents it.

    Nothing here touches a store: every error is about the content.
    """
    component = draw.component
    bad = Fault(draw.position, draw.attempt, component.name, "", FaultKind.FRAME, "", "")
    sound, unified = [], []
    for frame in frames:
        if isinstance(frame, Exception):
            return replace(bad, item="a row that is no frame", error=type(frame).__name__, reason=str(frame))
        bad = replace(bad, item=f"{frame.source}/{frame.scene}/{frame.frame}")
        if (reason := stored_fault(frame)) is not None:
            return replace(bad, error="DataError", reason=reason)
        try:
            unified.append(unify(frame.encoded_image, frame.camera, component.policy))
        except DataError as error:
            return replace(bad, kind=FaultKind.IMAGE, error=type(error).__name__, reason=str(error))
        sound.append(frame)
    bad = replace(bad, item=" and ".join(f"{frame.source}/{frame.scene}/{frame.frame}" for frame in sound))
    kind, position = component.task.depth_kind, draw.position
    sample: ViewSample | PairSample
    if len(sound) == 1:
        sample = view_sample(sound[0], unified[0], kind, position)
    else:
        views = (sound[0], sound[1], unified[0], unified[1])
        sample = pair_sample(*views, overlap=draw.overlap, target=kind, position=position)
    try:
        return sample, component.task.ask(sample, np.random.default_rng(draw.seed))
    except DataError as error:
        return replace(bad, kind=FaultKind.QUESTION, error=type(error).__name__, reason=str(error))


def keep_encoder(encoder: ConversationEncoder, folder: Path) -> Path:
    """Write an encoder to a folder that every node sees, from where the processes of the stream load it."""
    open_store(str(folder)).write_atomic(ENCODER_FILE, encoder.to_json())
    return folder / ENCODER_FILE


@lru_cache(maxsize=4)
def _encoder(file: Path) -> ConversationEncoder:
    """The encoder in a file, loaded once per process: loading costs more than encoding thousands of samples."""
    return ConversationEncoder.from_file(file)
