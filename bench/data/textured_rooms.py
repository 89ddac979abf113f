"""The data of the loader benchmarks: rendered rooms of 1280×960 px whose JPEGs cost what photographs cost."""

import dataclasses
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from photographs import encode, textured

from vlm3.geometry.camera import Camera, Distortion
from vlm3.mixture.plan import ComponentSize, MixturePlan
from vlm3.models.load import ModelConfig, resolve_model
from vlm3.scenes.schema import SCHEMA_VERSION, Frame
from vlm3.scenes.sharded import ShardedSource
from vlm3.sources.reader import SceneReader
from vlm3.sources.rooms.reader import RoomsConfig, RoomsReader
from vlm3.sources.sharding import GroupWriter, IngestConfig, scene_groups
from vlm3.storage.images import decode_rgb
from vlm3.storage.manifest import MANIFEST, SourceInfo, read_manifest, write_manifest
from vlm3.storage.shards import Shard
from vlm3.storage.split import Split
from vlm3.storage.store import open_store
from vlm3.stream.clip_reader import ClipReader, Component
from vlm3.stream.samples import SampleBuilder, keep_encoder
from vlm3.tasks.depth.task import DepthTask, DepthTaskConfig
from vlm3.tokens.encode import ConversationEncoder
from vlm3.tokens.step_row import StepRow
from vlm3.views.unify import UnifyPolicy

ENLARGED = 8
"""Textured pixels per rendered pixel: 160×120 becomes 1280×960."""
FRAMES_PER_SCENE = 8
FOCALS_PX = (120.0, 180.0)
"""Rendered; 960 to 1440 px when enlarged, so f = 1000 px makes images of the paper's size."""
POLICY = UnifyPolicy(1000.0, 32, 4096, 16_777_216)
INGEST = IngestConfig(clip_frames=8, slots_per_clip=8, heldout_share=0.0)
SOURCES = ("rooms", "studios")
WEIGHTS = (0.7, 0.3)
AHEAD = 4


@dataclass(frozen=True, slots=True)
class TexturedRooms:
    """A reader of rooms; `enlarged` 1 leaves them as rendered."""

    config: RoomsConfig
    source: str
    enlarged: int = ENLARGED

    @property
    def posed(self) -> bool:
        """As of the rooms."""
        return True

    def identity(self) -> str:
        """The rooms and how much they are enlarged."""
        return f"textured {self.enlarged} {RoomsReader(self.config).identity()}"

    def scenes(self) -> tuple[str, ...]:
        """As of the rooms."""
        return RoomsReader(self.config).scenes()

    def same_pictures(self) -> Mapping[str, str]:
        """As of the rooms."""
        return RoomsReader(self.config).same_pictures()

    def frames(self, scene: str) -> Iterator[Frame]:
        """Render, enlarge, texture."""
        for number, frame in enumerate(RoomsReader(self.config, self.source).frames(scene)):
            width_px, height_px = frame.camera.width_px * self.enlarged, frame.camera.height_px * self.enlarged
            picture = textured(decode_rgb(frame.encoded_image), width_px, height_px, number)
            points = frame.points.copy()
            points[:, :2] = (points[:, :2] + 0.5) * self.enlarged - 0.5
            yield dataclasses.replace(
                frame,
                encoded_image=encode(picture),
                camera=_enlarged(frame.camera, self.enlarged),
                points=points,
                full_depth=None,
                boxes=None,
            )


def make_source(uri: str, reader: SceneReader) -> list[Shard]:
    """Ingest to a folder, without Ray, unless just that is there; the training shards that were written."""
    store = open_store(uri)
    if store.exists(MANIFEST):
        if read_manifest(store).info.ingest_key == reader.identity():
            return []
        shutil.rmtree(uri)
    writer = GroupWriter(reader, store, INGEST, 0)
    shards = [shard for group in scene_groups(reader, INGEST) for shard in writer(group).shards]
    write_manifest(store, source_info(reader), {Split.TRAIN: shards})
    return shards


def source_info(reader: SceneReader) -> SourceInfo:
    """What a manifest says of a source that this module makes."""
    return SourceInfo(
        source=reader.source,
        role="train",
        schema_version=SCHEMA_VERSION,
        slots=INGEST.slots_per_clip,
        scale="metric",
        ingest_key=reader.identity(),
        generation=0,
        created_by="bench",
    )


def make_sources(folder: Path, frames: int) -> None:
    """Both sources with `frames` frames together, and the tokenizer's directory; what is there already is kept."""
    scenes = max(2, frames // (len(SOURCES) * FRAMES_PER_SCENE))
    for seed, name in enumerate(SOURCES):
        rooms = RoomsConfig(scenes=scenes, frames_per_scene=FRAMES_PER_SCENE, focal_range_px=FOCALS_PX, seed=seed)
        make_source(str(folder / name), TexturedRooms(rooms, name))
    model_directory(folder)


def model_directory(folder: Path) -> Path:
    """The tiny preset with the visual tokens of Qwen3-VL, 32×32 px, so that rows are as long as there."""
    directory = resolve_model(ModelConfig(id="tiny"), folder, seed=0)
    file = directory / "preprocessor_config.json"
    settings = json.loads(file.read_text()) | {"patch_size": 16, "merge_size": 2}
    file.write_text(json.dumps(settings))
    return directory


@dataclass(frozen=True, slots=True)
class Planned:
    """The stream's function, and the plan it follows."""

    builder: SampleBuilder
    plan: MixturePlan

    def rows(self, start: int, stop: int) -> list[StepRow]:
        """Training rows of positions [start, stop)."""
        return [row for parcel in self.builder.rows(self.plan, [np.arange(start, stop)]) for row in parcel.rows]


def sample_builder(folder: Path) -> Planned:
    """The stream's function over both sources of `make_sources`."""
    sources = [ShardedSource.open(str(folder / name)) for name in SOURCES]
    return builder_of(sources, WEIGHTS, POLICY, model_directory(folder))


def builder_of(
    sources: list[ShardedSource], weights: Sequence[float], policy: UnifyPolicy, model_dir: Path, seed: int = 0
) -> Planned:
    """Depth questions about every source."""
    task = DepthTask(DepthTaskConfig())
    components = tuple(Component(f"{source.name}/depth", source, task, policy) for source in sources)
    sizes = [
        ComponentSize(component.name, source.clips(Split.TRAIN), source.slots, source.fingerprint)
        for component, source in zip(components, sources, strict=True)
    ]
    builder = SampleBuilder(
        ClipReader(components, AHEAD), keep_encoder(ConversationEncoder.from_directory(model_dir), model_dir.parent)
    )
    return Planned(builder, MixturePlan.start(sizes, weights, seed))


def _enlarged(camera: Camera, times: int) -> Camera:
    # Rooms of bent lenses count as straight ones, though their labels are then some pixels off: the usual scripts
    # that this is compared with do not unbend.
    return Camera(
        camera.width_px * times,
        camera.height_px * times,
        camera.fx_px * times,
        camera.fy_px * times,
        (camera.cx_px + 0.5) * times - 0.5,
        (camera.cy_px + 0.5) * times - 0.5,
        Distortion.NONE,
    )
