"""The stream's own functions in a plain pool of processes: what there is to reach without a framework."""

import itertools
import multiprocessing
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np
from textured_rooms import Planned, sample_builder

from vlm3.tokens.step_row import StepRow

PAGE_BYTES = 4096
SLOT_BYTES_PER_ROW = 6 << 20
SLOTS_PER_WORKER = 3


@dataclass(slots=True)
class Worker:
    """What a process of the pool keeps."""

    builder: Planned
    rows: int
    slots: list[SharedMemory]
    free: "SimpleQueue[int]"


@dataclass(frozen=True, slots=True)
class Placed:
    """Rows whose pixels lie in a slot of shared memory, one image after the other."""

    slot: int
    rows: list[StepRow]
    """Their images are empty."""
    shapes: list[tuple[int, ...]]


_worker: Worker


def touch(image: np.ndarray) -> int:
    """A byte of every page, so that the pixels have really arrived."""
    return int(image.reshape(-1)[::PAGE_BYTES].sum())


def dropped(folder: Path, rows: int) -> Iterator[int]:
    """Nothing is delivered but how many rows were made."""
    yield from _pool(_count, folder, rows, [])


def pickled(folder: Path, rows: int) -> Iterator[int]:
    """Rows come through a pipe."""
    for batch in _pool(_rows, folder, rows, []):
        for row in batch:
            touch(row.images[0])
        yield len(batch)


def shared(folder: Path, rows: int) -> Iterator[int]:
    """Pixels come through shared memory, the rest through a pipe."""
    count = SLOTS_PER_WORKER * len(os.sched_getaffinity(0))
    slots = [SharedMemory(create=True, size=rows * SLOT_BYTES_PER_ROW) for _ in range(count)]
    free: SimpleQueue[int] = multiprocessing.get_context("spawn").SimpleQueue()
    for number in range(count):
        free.put(number)
    try:
        for placed in _pool(_place, folder, rows, [slot.name for slot in slots], free):
            at = 0
            for shape in placed.shapes:
                image = np.ndarray(shape, np.uint8, slots[placed.slot].buf, at)
                touch(image)
                at += image.nbytes
            del image
            free.put(placed.slot)
            yield len(placed.rows)
    finally:
        for slot in slots:
            slot.close()
            slot.unlink()


def _pool(work, folder: Path, rows: int, names: list[str], free=None) -> Iterator:
    context = multiprocessing.get_context("spawn")
    free = free or context.SimpleQueue()
    workers = len(os.sched_getaffinity(0))
    # A few blocks ahead of the consumer: the pool's own queue has no bound.
    permits, ended = threading.Semaphore(4 * workers), threading.Event()

    def starts() -> Iterator[int]:
        for number in itertools.count():
            permits.acquire()
            if ended.is_set():
                return
            yield number * rows

    with context.Pool(workers, _begin, (folder, rows, names, free)) as pool:
        try:
            for result in pool.imap_unordered(work, starts()):
                yield result
                permits.release()
        finally:
            ended.set()
            permits.release()


def _begin(folder: Path, rows: int, names: list[str], free: "SimpleQueue[int]") -> None:
    global _worker  # noqa: PLW0603 - a pool's initializer has no other place
    import cv2

    cv2.setNumThreads(1)
    _worker = Worker(sample_builder(folder), rows, [SharedMemory(name) for name in names], free)


def _rows(start: int) -> list[StepRow]:
    return _worker.builder.rows(start, start + _worker.rows)


def _count(start: int) -> int:
    return len(_rows(start))


def _place(start: int) -> Placed:
    slot = _worker.free.get()
    rows, shapes, at = [], [], 0
    for row in _rows(start):
        (image,) = row.images
        np.ndarray(image.shape, np.uint8, _worker.slots[slot].buf, at)[:] = image
        at += image.nbytes
        shapes.append(image.shape)
        rows.append(StepRow(row.position, row.component, row.attempt, row.input_ids, row.loss_mask, ()))
    return Placed(slot, rows, shapes)
