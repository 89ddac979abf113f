"""A small mixture without Ray: sources of made frames, some of them bad in every way, and its builder."""

import dataclasses
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.frames import make_frame
from tests.shard_fixtures import clip_extent
from vlm3.asking.protocol import AnyTask
from vlm3.mixture.plan import ComponentSize, MixturePlan
from vlm3.models.load import ModelConfig, resolve_model
from vlm3.scenes.rows import ENCODED_COLUMNS, SCHEMA, frames_to_table
from vlm3.scenes.schema import Frame
from vlm3.scenes.sharded import ShardedSource
from vlm3.storage.manifest import SourceInfo, write_manifest
from vlm3.storage.shards import ShardWriter, shard_path
from vlm3.storage.split import Split
from vlm3.storage.store import Store
from vlm3.stream.clip_reader import ClipReader, Component
from vlm3.stream.parcels import EncodedParcel
from vlm3.stream.quarantine import Fault
from vlm3.stream.samples import SampleBuilder, keep_encoder
from vlm3.tasks.correspondence.task import CorrespondenceTask, CorrespondenceTaskConfig
from vlm3.tasks.depth.task import DepthTask, DepthTaskConfig
from vlm3.tasks.pose.task import PoseTask, PoseTaskConfig
from vlm3.tokens.encode import ConversationEncoder
from vlm3.tokens.step_row import StepRow
from vlm3.tokens.vision import VisionSpec
from vlm3.views.unify import UnifyPolicy

FRAMES = 4
"""Frames, and slots, of a clip."""
TASK = DepthTask(DepthTaskConfig(points=3, reference_range=100, decimals=1, templates="compact-1"))
PAIR_TASK = CorrespondenceTask(CorrespondenceTaskConfig(points=3, reference_range=100, templates="compact-1"))
POSE_TASK = PoseTask(PoseTaskConfig(templates="compact-1"))
POLICY = UnifyPolicy(focal_px=40.0, token_px=16, min_pixels=256, max_pixels=1 << 20)


def _png(width: int, height: int) -> bytes:
    """A PNG that says it is this large and holds a few bytes."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    parts = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _nan_pose(frame: Frame) -> Frame:
    assert frame.world_T_cam is not None
    pose = frame.world_T_cam.copy()
    pose[0, 3] = np.nan
    return dataclasses.replace(frame, world_T_cam=pose)


def _with_region(frame: Frame, region_px: tuple[float, float, float, float]) -> Frame:
    """Its box named by another region."""
    assert frame.boxes is not None
    return dataclasses.replace(frame, boxes=(dataclasses.replace(frame.boxes[0], region_px=region_px),))


SPOILED: dict[str, Callable[[Frame], Frame]] = {
    "image": lambda frame: dataclasses.replace(frame, encoded_image=frame.encoded_image[:60]),
    "bomb": lambda frame: dataclasses.replace(frame, encoded_image=_png(60_000, 60_000)),
    "pose": _nan_pose,
    "labels": lambda frame: dataclasses.replace(frame, points=np.empty((0, 3), np.float32)),
    "depth": lambda frame: dataclasses.replace(frame, points=frame.points * np.float32([1, 1, -1])),
}
"""Ways of being bad that lie in the content."""
_UNFIT: dict[str, Callable[[Frame], Frame]] = {
    "flat": lambda frame: dataclasses.replace(frame, small_depth=None),
    "unposed": lambda frame: dataclasses.replace(frame, world_T_cam=None),
    "boxed": lambda frame: _with_region(frame, (12.0, 8.0, 20.0, 16.0)),
    "cut": lambda frame: _with_region(frame, (0.0, 0.0, 4.0, 3.0)),
    "boxless": lambda frame: dataclasses.replace(frame, boxes=None),
}
"""Sound, and of use to some tasks only."""


def write_made_source(
    store: Store, name: str, shards: int, clips: int, bad: dict[tuple[int, int, int], str] | None = None
) -> ShardedSource:
    """A training source of made frames; `bad` names how (shard, clip, frame) is spoiled."""
    written = []
    for shard in range(shards):
        writer = ShardWriter(SCHEMA, ENCODED_COLUMNS)
        for clip in range(clips):
            frames = [make_frame(f"scene-{shard}-{clip}", number, source=name) for number in range(FRAMES)]
            frames = [
                (SPOILED | _UNFIT)[bad[shard, clip, n]](frame) if bad and (shard, clip, n) in bad else frame
                for n, frame in enumerate(frames)
            ]
            writer.add(frames_to_table(frames, clip))
        written.append(writer.commit(store, shard_path(Split.TRAIN, 0, shard, 0)))
    write_manifest(store, SourceInfo(name, "train", 1, FRAMES, "metric", name, 0, "test"), {Split.TRAIN: written})
    return ShardedSource.open(store.uri)


def damage_clip(folder: Path, shard: int, clip: int) -> None:
    """Overwrite the stored bytes of one clip."""
    path = folder / pq.read_table(folder / "manifest.parquet")["path"][shard].as_py()
    start, stop = clip_extent(path, clip)
    content = bytearray(path.read_bytes())
    content[start:stop] = bytes(stop - start)
    path.write_bytes(content)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return resolve_model(ModelConfig(id="tiny"), tmp_path_factory.mktemp("models"), 0)


@pytest.fixture(scope="session")
def tiny_vision(tiny_model: Path) -> VisionSpec:
    return VisionSpec.from_directory(tiny_model)


def builder_of(
    sources: Sequence[ShardedSource],
    model_dir: Path,
    ahead: int = 2,
    tasks: Sequence[AnyTask] = (TASK,),
    policy: UnifyPolicy = POLICY,
) -> SampleBuilder:
    """A builder over questions on these sources, depth where nothing else is said."""
    parts = tuple(Component(f"{source.name}/{task.name}", source, task, policy) for source in sources for task in tasks)
    return SampleBuilder(
        ClipReader(parts, ahead), keep_encoder(ConversationEncoder.from_directory(model_dir), model_dir.parent)
    )


def plan_of(builder: SampleBuilder, weights: Sequence[float], seed: int = 0) -> MixturePlan:
    """A plan over the builder's components."""
    sizes = [
        ComponentSize(part.name, part.source.clips(Split.TRAIN), part.source.slots, part.source.fingerprint)
        for part in builder.components
    ]
    return MixturePlan.start(sizes, weights, seed, 1024)


def rows_of(
    builder: SampleBuilder, plan: MixturePlan, stop: int, parcel: int = 10
) -> tuple[list[StepRow], list[Fault]]:
    """Rows and faults of positions [0, stop), through the blocks that Ray would carry."""
    groups = [np.arange(start, min(start + parcel, stop)) for start in range(0, stop, parcel)]
    made = [
        builder.build(EncodedParcel.from_block(encoded.to_block()), lambda: plan)
        for encoded in builder.reader.parcels(plan, groups)
    ]
    return [row for part in made for row in part.rows], [fault for part in made for fault in part.faults]
