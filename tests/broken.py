"""Frames broken in the ways that datasets are, and sources written to disk without a cluster."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vlm3.geometry.depth import DepthKind, convert_depth
from vlm3.geometry.rigid import invert
from vlm3.scenes.depth_labels import depth_camera
from vlm3.scenes.schema import SCHEMA_VERSION, Frame
from vlm3.sources.reader import SceneReader, open_reader
from vlm3.sources.rooms.reader import RoomsConfig, RoomsReader
from vlm3.sources.sharding import GroupWriter, IngestConfig, scene_groups
from vlm3.storage.manifest import Manifest, Role, SourceInfo, write_manifest
from vlm3.storage.split import Split
from vlm3.storage.store import open_store

Break = Callable[[Frame], Frame]
OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])


@lru_cache(maxsize=4)
def room_groups(scenes: int = 6, frames: int = 8) -> tuple[tuple[Frame, ...], ...]:
    """Rendered rooms, a group a room."""
    reader = RoomsReader(RoomsConfig(scenes=scenes, frames_per_scene=frames))
    return tuple(tuple(reader.frames(scene)) for scene in reader.scenes())


def folder_groups(folder: Path, size: int = 16) -> tuple[tuple[Frame, ...], ...]:
    """Frames of a foreign folder, in runs."""
    reader = open_reader(folder)
    frames = [f for scene in reader.scenes() for f in reader.frames(scene) if isinstance(f, Frame)]
    return tuple(tuple(frames[i : i + size]) for i in range(0, len(frames), size))


def broken(groups: Sequence[Sequence[Frame]], change: Break) -> list[list[Frame]]:
    """Every frame changed."""
    return [[change(frame) for frame in group] for group in groups]


def posed(change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Break:
    """Frames with another matrix as their pose."""
    return lambda frame: replace(frame, world_T_cam=change(frame.world_T_cam))


def deep(factor: float) -> Break:
    """Frames whose depth, labels and map, is off by a factor."""

    def change(frame: Frame) -> Frame:
        small = replace(frame.small_depth, z_depth_m=frame.small_depth.z_depth_m * np.float32(factor))
        return replace(frame, small_depth=small, points=frame.points * np.float32([1, 1, factor]))

    return change


def converted(source: DepthKind, target: DepthKind) -> Break:
    """Frames whose depth was converted once too often, or not at all."""

    def change(frame: Frame) -> Frame:
        camera = depth_camera(frame.small_depth, frame.camera)
        v, u = np.mgrid[: camera.height_px, : camera.width_px]
        pixels = np.stack([u.ravel(), v.ravel()], axis=-1)
        depth_m = frame.small_depth.z_depth_m
        other_m = convert_depth(depth_m.ravel(), pixels, camera, source, target).reshape(depth_m.shape)
        labels_m = convert_depth(frame.points[:, 2], frame.points[:, :2], frame.camera, source, target)
        points = np.column_stack([frame.points[:, :2], labels_m]).astype(np.float32)
        small = replace(frame.small_depth, z_depth_m=other_m.astype(np.float32))
        return replace(frame, small_depth=small, points=points)

    return change


INVERTED = posed(invert)
GL_AXES = posed(lambda pose: pose @ OPENGL)
GL_VIEW = posed(lambda pose: invert(pose @ OPENGL))
MIRRORED = posed(lambda pose: MIRROR @ pose @ MIRROR)
LEFT_HANDED = posed(lambda pose: pose @ MIRROR)
RAY_AS_Z = converted(DepthKind.Z, DepthKind.RAY)
SHORTENED = converted(DepthKind.RAY, DepthKind.Z)


def write_source(reader: SceneReader, folder: Path, role: Role = "train", heldout_share: float = 0.3) -> Manifest:
    """Ingest in this process."""
    config = IngestConfig(clip_frames=8, heldout_share=heldout_share, role=role)
    store = open_store(str(folder))
    writer = GroupWriter(reader, store, config, 0)
    results = [writer(group) for group in scene_groups(reader, config)]
    shards = {split: [s for r in results if r.group.split is split for s in r.shards] for split in Split}
    info = SourceInfo(reader.source, config.role, SCHEMA_VERSION, config.slots_per_clip, "metric", "key", 0, "test")
    return write_manifest(store, info, shards)
