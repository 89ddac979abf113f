"""The frames of the loader benchmarks in the shard format that is natural to each loader, and what is done with one."""

import io
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from textured_rooms import POLICY, SOURCES

from vlm3.geometry.camera import Camera
from vlm3.geometry.depth import DepthKind
from vlm3.scenes.schema import Frame, IntrinsicsSource, Scale
from vlm3.scenes.sharded import DEPTH_COLUMNS, ShardedSource
from vlm3.storage.atomic import new_directory
from vlm3.storage.split import Split
from vlm3.tasks.depth.task import DepthTask, DepthTaskConfig
from vlm3.tokens.batch import ModelBatch, collate
from vlm3.tokens.encode import ConversationEncoder
from vlm3.tokens.step_row import StepRow
from vlm3.tokens.vision import VisionSpec
from vlm3.views.sample import view_sample
from vlm3.views.unify import UnifiedView, unified_camera, unify

SHARDS = 8
FIELDS = ("jpeg", "points", "camera")
Record = dict[str, bytes]
"""`FIELDS`: the encoded image; float32 (N, 3) of u, v, metres; float64 of width, height, fx, fy, cx, cy."""


def records(folder: Path) -> Iterator[Record]:
    """Every frame of the sources below `folder`."""
    for name in SOURCES:
        source = ShardedSource.open(str(folder / name))
        for clip in range(source.clips(Split.TRAIN)):
            for frame in source.read_clip(Split.TRAIN, clip, DEPTH_COLUMNS):
                c = frame.camera
                camera = np.array([c.width_px, c.height_px, c.fx_px, c.fy_px, c.cx_px, c.cy_px], np.float64)
                yield {"jpeg": frame.encoded_image, "points": frame.points.tobytes(), "camera": camera.tobytes()}


def write_files(folder: Path, frames: Sequence[Record]) -> None:
    """A file a field and frame."""
    for number, record in enumerate(frames):
        for name in FIELDS:
            (folder / f"{number:06d}.{name}").write_bytes(record[name])


def write_tars(folder: Path, frames: Sequence[Record]) -> None:
    """Webdataset's shards."""
    for shard in range(SHARDS):
        with tarfile.open(folder / f"{shard:04d}.tar", "w") as tar:
            for number, record in enumerate(frames[shard::SHARDS]):
                for name in FIELDS:
                    entry = tarfile.TarInfo(f"{shard:04d}-{number:06d}.{name}")
                    entry.size = len(record[name])
                    tar.addfile(entry, io.BytesIO(record[name]))


def write_parquet(folder: Path, frames: Sequence[Record]) -> None:
    """Plain Parquet, as a hub data set has it."""
    for shard in range(SHARDS):
        pq.write_table(pa.Table.from_pylist(frames[shard::SHARDS]), folder / f"{shard:04d}.parquet", row_group_size=64)


def write_mds(folder: Path, frames: Sequence[Record]) -> None:
    """MosaicML's shards."""
    from mosaic import streaming

    with streaming().MDSWriter(out=str(folder), columns=dict.fromkeys(FIELDS, "bytes"), size_limit=1 << 24) as writer:
        for record in frames:
            writer.write(record)


WRITERS: dict[str, Callable[[Path, Sequence[Record]], None]] = {
    "files": write_files,
    "tar": write_tars,
    "parquet": write_parquet,
    "mds": write_mds,
}


def format_folder(folder: Path, name: str) -> Path:
    """Where a format of the sources below `folder` is; other frames have another place."""
    fingerprints = [ShardedSource.open(str(folder / source)).fingerprint[:6] for source in SOURCES]
    return folder / f"{name}-{'-'.join(fingerprints)}"


def write_all(folder: Path) -> None:
    """Every format that is missing."""
    missing = [name for name in WRITERS if not format_folder(folder, name).is_dir()]
    frames = list(records(folder)) if missing else []
    for name in missing:
        with new_directory(format_folder(folder, name)) as unfinished:
            WRITERS[name](unfinished, frames)


@dataclass(frozen=True, slots=True)
class ToBatch:
    """What a loader's workers do with records: our functions, or the usual resize in place of our unification."""

    model_dir: Path
    usual: bool

    def __call__(self, found: Sequence[Record]) -> ModelBatch:
        """Collate a batch."""
        encoder = encoder_of(self.model_dir)
        spec = VisionSpec.from_directory(self.model_dir)
        return collate([self._row(record, encoder) for record in found], spec)

    def _row(self, record: Record, encoder: ConversationEncoder) -> StepRow:
        frame = _frame(record)
        if self.usual:
            target = unified_camera(frame.camera, POLICY)
            unified = UnifiedView(usual_image(frame.encoded_image, frame.camera, target), target, frame.camera)
        else:
            unified = unify(frame.encoded_image, frame.camera, POLICY)
        sample = view_sample(frame, unified, DepthKind.RAY, None)
        encoded = encoder.encode(TASK.ask(sample, np.random.default_rng()), [sample.image.shape[:2]])
        return StepRow(0, 0, 0, encoded.input_ids, encoded.loss_mask, (sample.image,))


TASK = DepthTask(DepthTaskConfig())
_encoders: dict[Path, ConversationEncoder] = {}


def encoder_of(model_dir: Path) -> ConversationEncoder:
    """One a process: loading a tokenizer costs more than encoding thousands of samples."""
    if model_dir not in _encoders:
        _encoders[model_dir] = ConversationEncoder.from_directory(model_dir)
    return _encoders[model_dir]


def usual_image(encoded: bytes, camera: Camera, target: Camera) -> NDArray[np.uint8]:
    """Full decode, bicubic resize to whole pixels, padded, with Pillow: a stock training script's way."""
    size = (
        round(camera.width_px * target.fx_px / camera.fx_px),
        round(camera.height_px * target.fy_px / camera.fy_px),
    )
    picture = PIL.Image.open(io.BytesIO(encoded)).convert("RGB").resize(size, PIL.Image.Resampling.BICUBIC)
    x, y = max(0, (size[0] - target.width_px) // 2), max(0, (size[1] - target.height_px) // 2)
    # A copy: Pillow's own memory cannot be written to.
    return np.array(picture.crop((x, y, x + target.width_px, y + target.height_px)))


def _frame(record: Record) -> Frame:
    width, height, *rest = np.frombuffer(record["camera"], np.float64).tolist()
    return Frame(
        source="bench",
        scene="0",
        frame="0",
        camera_id="0",
        encoded_image=record["jpeg"],
        camera=Camera(int(width), int(height), *rest),
        intrinsics_source=IntrinsicsSource.GIVEN,
        world_T_cam=None,
        scale=Scale.METRIC,
        depth_kind=DepthKind.Z,
        points=np.frombuffer(record["points"], np.float32).reshape(-1, 3),
    )
