"""Batch prediction with Ray Data: replicas of a model answer the rows of a benchmark, and answers are kept on disk."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray.data

from pipelines.answerers import AnswererSource
from pipelines.progress import Counting
from vlm3.asking.tables import AnswerTable, concatenate, from_arrow, to_arrow
from vlm3.benchmarks.items import Benchmark
from vlm3.errors import ConfigError, UserError
from vlm3.evaluation.answering import Answerer
from vlm3.storage.store import open_store
from vlm3.storage.visible import visible
from vlm3.tasks import SCORED

REQUEST_FILE = "request.json"
PARTS = "parts"
ROWS_A_BLOCK = 4
"""Rows of a block; few, so that all replicas finish at about the same time."""
KEEP_EVERY_S = 15.0
"""Seconds between writes to disk: a crash loses at most the answers of this time."""
_PART = pa.schema([("row", pa.string()), ("task", pa.string()), ("answers", pa.binary()), ("error", pa.string())])


@dataclass(frozen=True, slots=True)
class Replicas:
    """Number of replicas that work side by side, and the size of each."""

    count: int = 1
    cpus: float = 1.0
    """CPUs of each replica; its torch threads are the whole ones, at least 1."""
    gpus: float = 0.0
    """GPUs of each replica."""


class AnswerActor:
    """One replica. It returns a UserError as data, because Ray Data would hide it among its own errors."""

    def __init__(self, benchmark: Benchmark, source: AnswererSource, threads: int) -> None:
        self._benchmark = benchmark
        self._source = source
        self._threads = threads
        self._answerer: Answerer | None = None

    def __call__(self, block: pa.Table) -> pa.Table:
        """Answer the rows of the benchmark that a block names.

        Each row gives one row of output per table of answers, or one without answers if nothing is asked about it. The
        first UserError ends the block.
        """
        found: list[tuple[str, str, bytes, str | None]] = []
        for row in block["row"].to_pylist():
            try:
                self._answerer = self._answerer or self._source.build(self._threads)
                items = self._benchmark.read(row)
                tables = [table for item in items for table in self._answerer.answer(item)]
            except UserError as error:
                found.append((row, "", b"", str(error)))
                break
            found += [(row, table.task, _pack(table), None) for table in tables] or [(row, "", b"", None)]
        return pa.table(dict(zip(_PART.names, zip(*found, strict=True), strict=True)), _PART)


def predict(
    benchmark: Benchmark, rows: Sequence[str], source: AnswererSource, folder: Path, replicas: Replicas
) -> dict[str, AnswerTable]:
    """Answer rows of a benchmark on the connected Ray cluster; returns a table of answers per task.

    Answers are kept in `folder` as they come: a call after an interruption answers only the missing rows.

    Raises:
        ConfigError: the folder holds answers of another model, about other data, or to questions asked differently.
        UserError: the model cannot be asked, or a row is bad; the answers so far are kept.
    """
    _claim(folder, benchmark, source)
    done = _kept(folder)
    missing = [row for row in rows if row not in done]
    with Counting(f"{benchmark.name}: rows", len(rows), len(rows) - len(missing)) as counting:
        for block in _kept_in_time(folder, _answers(benchmark, missing, source, replicas)):
            counting.add(len(set(block["row"].to_pylist())))
    return _joined(_kept(folder), rows)


def _answers(
    benchmark: Benchmark, rows: Sequence[str], source: AnswererSource, replicas: Replicas
) -> Iterator[pa.Table]:
    if not rows:
        return
    blocks = [pa.table({"row": rows[i : i + ROWS_A_BLOCK]}) for i in range(0, len(rows), ROWS_A_BLOCK)]
    answered = ray.data.from_arrow(blocks).map_batches(
        AnswerActor,
        fn_constructor_args=(benchmark, source, max(1, int(replicas.cpus))),
        compute=ray.data.ActorPoolStrategy(size=min(replicas.count, len(blocks))),
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=replicas.cpus,
        num_gpus=replicas.gpus,
    )
    answered.context.enable_progress_bars = False
    answered.context.print_on_execution_start = False
    yield from answered.iter_batches(batch_size=None, batch_format="pyarrow")


def _kept_in_time(folder: Path, blocks: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Yield the blocks, and write them to the folder every few seconds and at the end, even if that is an error.

    Raises:
        UserError: a replica met one.
    """
    waiting: list[pa.Table] = []
    kept_s = time.monotonic()
    try:
        for block in blocks:
            failed = pc.is_valid(block["error"])
            waiting.append(block.filter(pc.invert(failed)))
            if pc.any(failed).as_py():
                raise UserError(block["error"].filter(failed)[0].as_py())
            if time.monotonic() - kept_s >= KEEP_EVERY_S:
                _keep(folder, pa.concat_tables(waiting))
                waiting, kept_s = [], time.monotonic()
            yield block
    finally:
        if waiting:
            _keep(folder, pa.concat_tables(waiting))


def _claim(folder: Path, benchmark: Benchmark, source: AnswererSource) -> None:
    request = {"benchmark": benchmark.identity(), "model": source.identity}
    file = folder / REQUEST_FILE
    if file.is_file():
        if json.loads(file.read_text(encoding="utf-8")) != request:
            raise ConfigError(
                f"{folder} holds answers of another model, to other data, or asked otherwise: choose another --name"
            )
        return
    open_store(str(folder)).write_atomic(REQUEST_FILE, json.dumps(request).encode())


def _keep(folder: Path, part: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(part, sink)
    number = len(_parts(folder))
    open_store(str(folder)).write_atomic(f"{PARTS}/{number:06d}.parquet", sink.getvalue().to_pybytes())


def _parts(folder: Path) -> list[Path]:
    return visible((folder / PARTS).glob("*.parquet"))


def _kept(folder: Path) -> dict[str, list[tuple[str, bytes]]]:
    """Answers in the folder: row → (task, packed table) of each of its tables."""
    found: dict[str, list[tuple[str, bytes]]] = {}
    for path in _parts(folder):
        part = pq.read_table(path)
        for row, task, packed, _ in zip(*(part[name].to_pylist() for name in _PART.names), strict=True):
            tables = found.setdefault(row, [])
            if task:
                tables.append((task, packed))
    return found


def _joined(kept: dict[str, list[tuple[str, bytes]]], rows: Sequence[str]) -> dict[str, AnswerTable]:
    """Join the tables of each task in the order of `rows`, whichever replica was faster."""
    by_task: dict[str, list[AnswerTable]] = {}
    for row in rows:
        for task, packed in kept[row]:
            by_task.setdefault(task, []).append(_unpack(task, packed))
    return {task: concatenate(by_task[task]) for task in SCORED if task in by_task}


def _pack(table: AnswerTable) -> bytes:
    arrow, sink = to_arrow(table), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, arrow.schema) as writer:
        writer.write_table(arrow)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def _unpack(task: str, packed: bytes) -> AnswerTable:
    with pa.ipc.open_stream(packed) as reader:
        return from_arrow(SCORED[task].table, reader.read_all())
