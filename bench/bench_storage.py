"""Clips a second from a local S3 server, near and far, with and without read-ahead; and the way to the first clip.

`python bench/bench_storage.py` prints one table. The server is rclone on loopback; "far" adds 50 ms to every answer.
"""

import asyncio
import os
import queue
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from vlm3.scenes.rows import ENCODED_COLUMNS, SCHEMA, frames_to_table
from vlm3.scenes.schema import Frame
from vlm3.scenes.sharded import DEPTH_COLUMNS, ShardedSource
from vlm3.sources.rooms.reader import RoomsConfig, RoomsReader
from vlm3.storage.columns import column_extents
from vlm3.storage.counters import storage_use
from vlm3.storage.manifest import SourceInfo, write_manifest
from vlm3.storage.read_ahead import read_ahead
from vlm3.storage.shards import Shard, ShardWriter, shard_path
from vlm3.storage.split import Split
from vlm3.storage.store import open_store

KEY, SECRET, BUCKET = "bench", "bench-secret", "bench"
LATENCY_S = 0.05
SHARDS, CLIPS, FRAMES, IMAGE_BYTES = 4, 16, 16, 150_000
FIRST_CLIP_SHARDS = (10, 1000)
REPEATS = 3


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one way of reading."""

    clips_per_s: float
    requests_per_clip: float
    bytes_per_needed_byte: float


def main() -> None:
    """Write the sources, read them in each way, print the table."""
    with tempfile.TemporaryDirectory() as scratch:
        bucket = Path(scratch) / "served" / BUCKET
        shards = [write_shard(bucket / "big", i, CLIPS, IMAGE_BYTES) for i in range(SHARDS)]
        needed = sum(needed_bytes(bucket / "big" / shard.file.path) for shard in shards)
        small = write_shard(bucket / "small", 0, 1, 2000)
        near, far = "near", f"far, {LATENCY_S * 1e3:.0f} ms"
        table = Table(title=f"{SHARDS * CLIPS} clips of {needed / SHARDS / CLIPS / 2**20:.1f} MiB, {SHARDS} shards")
        for name in ("server", "read-ahead", "clips/s", "requests/clip", "bytes/needed byte"):
            table.add_column(name, justify="right")
        for count in FIRST_CLIP_SHARDS:
            table.add_column(f"first clip of {count} shards", justify="right")
        with rclone(bucket.parent, Path(scratch)) as port, late(port) as far_port:
            for name, at in ((near, port), (far, far_port)):
                os.environ["AWS_ENDPOINT_URL_S3"] = f"http://127.0.0.1:{at}"
                firsts = [first_clip_s(bucket, small, count) for count in FIRST_CLIP_SHARDS]
                for depth in (1, 8):
                    figures = read_all(linked(bucket, shards, "big"), depth, needed)
                    row = (name, f"{depth}", f"{figures.clips_per_s:.1f}", f"{figures.requests_per_clip:.2f}")
                    table.add_row(*row, f"{figures.bytes_per_needed_byte:.3f}", *(f"{s * 1e3:.0f} ms" for s in firsts))
    Console(width=120).print(table)


def read_all(source: ShardedSource, depth: int, needed_bytes: int) -> Figures:
    """Every clip once, the columns of depth training; caches are cold."""

    def reading(clip: int) -> Callable[[], tuple[Frame, ...]]:
        return lambda: source.read_clip(Split.TRAIN, clip, DEPTH_COLUMNS)

    before, started_s, clips = storage_use(), time.perf_counter(), source.clips(Split.TRAIN)
    with closing(read_ahead(map(reading, range(clips)), depth)) as results:
        for _ in results:
            pass
    used, spent_s = storage_use().since(before), time.perf_counter() - started_s
    return Figures(clips / spent_s, used.requests / clips, used.bytes_read / needed_bytes)


def first_clip_s(bucket: Path, shard: Shard, count: int) -> float:
    """Seconds from a URI to the last clip of a source of `count` shards; the best of a few, caches cold each time."""
    seconds = []
    for _ in range(REPEATS):
        copies = [replace(shard, file=replace(shard.file, path=shard_path(Split.TRAIN, 0, i, 0))) for i in range(count)]
        uri = linked(bucket, copies, "small", shard.file.path).uri
        started_s = time.perf_counter()
        ShardedSource.open(uri).read_clip(Split.TRAIN, count - 1, DEPTH_COLUMNS)
        seconds.append(time.perf_counter() - started_s)
    return min(seconds)


def linked(bucket: Path, shards: list[Shard], origin: str, same: str | None = None) -> ShardedSource:
    """A source at a place never read before, so that nothing of it is cached; its files are links."""
    folder = Path(tempfile.mkdtemp(dir=bucket))
    for shard in shards:
        os.link(bucket / origin / (same or shard.file.path), folder / shard.file.path)
    write_manifest(
        open_store(str(folder)),
        SourceInfo("bench", "train", 1, FRAMES, "metric", "bench", 0, "bench"),
        {Split.TRAIN: shards},
    )
    return ShardedSource.open(f"s3://{BUCKET}/{folder.name}")


def write_shard(folder: Path, number: int, clips: int, image_bytes: int) -> Shard:
    """One shard of rendered frames whose images are noise of the size of real ones."""
    rng = np.random.default_rng(number)
    reader = RoomsReader(RoomsConfig(scenes=1, frames_per_scene=FRAMES, width_px=64, height_px=48))
    frames = [frame for frame in reader.frames(reader.scenes()[0]) if isinstance(frame, Frame)]
    writer = ShardWriter(SCHEMA, ENCODED_COLUMNS)
    for clip in range(clips):
        rows = [replace(frame, encoded_image=rng.bytes(image_bytes)) for frame in frames]
        writer.add(frames_to_table(rows, clip))
    return writer.commit(open_store(str(folder)), shard_path(Split.TRAIN, 0, number, 0))


def needed_bytes(file: Path) -> int:
    """Bytes of a shard's chunks that depth training reads."""
    metadata = pq.read_metadata(file)
    groups = range(metadata.num_row_groups)
    return sum(stop - start for group in groups for start, stop in column_extents(metadata, group, DEPTH_COLUMNS))


@contextmanager
def rclone(folder: Path, scratch: Path) -> Iterator[int]:
    """`rclone serve s3` of a folder, the environment's credentials set; gives its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    binary = shutil.which("rclone", path=str(Path(sys.executable).parent)) or "rclone"
    command = [binary, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEY},{SECRET}"]
    os.environ |= {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_EC2_METADATA_DISABLED": "true"}
    # Folders are made beside it while it runs, and an ETag would cost it an MD5 of the whole file in each answer.
    command += ["--dir-cache-time", "0s", "--etag-hash", "", str(folder)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=os.environ | {"RCLONE_CONFIG": str(scratch / "no-config")}, **quiet)
    try:
        while socket.socket().connect_ex(("127.0.0.1", port)) and process.poll() is None:
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def late(target_port: int) -> Iterator[int]:
    """A port on loopback that passes requests on `LATENCY_S` later, and answers as they come."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.CancelledError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target_port)
            await asyncio.gather(pipe(reader, far_writer, LATENCY_S), pipe(far_reader, writer, 0.0))

    async def serve_until_stopped() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        ports.put(server.sockets[0].getsockname()[1])
        await asyncio.to_thread(stop.wait)

    ports, stop = queue.SimpleQueue[int](), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(serve_until_stopped()))
    thread.start()
    try:
        yield ports.get(timeout=10)
    finally:
        stop.set()
        thread.join()


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
    """Bytes from one side to the other until it ends; a request is one piece."""
    with suppress(ConnectionError):
        while data := await reader.read(1 << 18):
            await asyncio.sleep(delay_s)
            writer.write(data)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    main()
