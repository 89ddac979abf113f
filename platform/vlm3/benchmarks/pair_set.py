"""Image pairs (`pairs.json`): relative pose, listed correspondences, or both."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from vlm3.asking.items import Item, PairItem
from vlm3.benchmarks.frames import NO_POINTS, NOTHING, check_agrees, rigid, sound_image
from vlm3.benchmarks.items import FEWEST_SCENES
from vlm3.errors import DataError
from vlm3.geometry.depth import DepthKind
from vlm3.geometry.rigid import invert, relative
from vlm3.scenes.schema import Frame, IntrinsicsSource, Scale
from vlm3.sources.foreign import MAX_IMAGE_BYTES, fingerprint, path_inside, read_bounded
from vlm3.sources.foreign_keys import Keys
from vlm3.sources.names import given
from vlm3.sources.records import PAIR, RECORD, Index, ListedPair, SizedRecord, read_index, say_unread, unread

INDEX = "pairs.json"
KEYS = Keys(RECORD - {"id", "depth", "depth_scale", "scene"})
PAIR_KEYS = Keys(PAIR)


@dataclass(frozen=True, slots=True)
class PairSet:
    """Listed image pairs; a row is a pair."""

    name: str
    folder: Path
    index: Index
    images: Mapping[str, Any]
    """Path of an image → its entry."""
    pair_index: Index
    pairs: Mapping[str, Any]
    by_scene: bool
    """Whether there are scenes enough for the bootstrap to draw them; else it draws pairs."""

    @classmethod
    def open(cls, folder: Path, name: str) -> Self:
        """Read the index.

        Raises:
            DataError: no such file, or it lists no images, no pairs, or one image twice with different entries.
        """
        path = folder / INDEX
        index, content = read_index(path, "images", KEYS)
        images, pairs = (content.get(key) for key in ("images", "pairs"))
        if not isinstance(images, list) or not isinstance(pairs, list) or not images or not pairs:
            raise DataError(f"{path}: expected lists `images` and `pairs`, found none or empty ones")
        by_path: dict[str, Any] = {}
        for number, entry in enumerate(images):
            image = given(entry, "image")
            if image is not None and by_path.setdefault(image, entry) != entry:
                raise DataError(f"{path}: images.{number}: {image!r:.200} stands there before, and otherwise")
        listed = [pair for pair in pairs if isinstance(pair, dict)]
        say_unread(f"{path}: pairs", unread(listed, PAIR_KEYS))
        pair_index = Index(INDEX, {key: index.shared[key] for key in index.shared.keys() & PAIR}, PAIR_KEYS)
        scenes = {str(pair.get("scene")) for pair in listed}
        rows = {_row(pair, number): pair for number, pair in enumerate(pairs)}
        return cls(name, folder, index, by_path, pair_index, rows, len(scenes) >= FEWEST_SCENES)

    def rows(self) -> tuple[str, ...]:
        """Names of the pairs: place in the file, and images."""
        return tuple(self.pairs)

    def read(self, row: str) -> tuple[Item, ...]:
        """One pair. Raises DataError or ConfigError naming what is bad."""
        pair = self.pair_index.parse(ListedPair, self.pairs[row])
        scale = Scale.RELATIVE if pair.scale is None else _scale(pair.scale)
        frame1, frame2 = (self._frame(image, scale, pair.scene or self.name) for image in (pair.a, pair.b))
        cam1_T_cam2 = None
        if pair.T_b_from_a is not None:
            b_T_a = rigid(pair.T_b_from_a, "T_b_from_a")
            cam1_T_cam2 = invert(b_T_a)
        if frame1.world_T_cam is not None and frame2.world_T_cam is not None:
            computed = relative(frame1.world_T_cam, frame2.world_T_cam)
            if cam1_T_cam2 is None:
                cam1_T_cam2 = computed
            check_agrees(invert(cam1_T_cam2), invert(computed), "T_b_from_a")
        points = np.array([entry[:4] for entry in pair.correspondences], np.float64).reshape(-1, 4)
        for points_px, frame in ((points[:, :2], frame1), (points[:, 2:], frame2)):
            _check_inside(points_px, frame)
        if cam1_T_cam2 is None and not len(points):
            raise DataError("the pair has neither a pose nor correspondences")
        points1_px, points2_px = (points[:, :2], points[:, 2:]) if len(points) else (NOTHING, NOTHING)
        return (
            PairItem(
                row,
                pair.scene if self.by_scene and pair.scene else row,
                frame1,
                frame2,
                cam1_T_cam2,
                points1_px,
                points2_px,
            ),
        )

    def identity(self) -> str:
        """Hash of the index and of the sizes of its images."""
        return fingerprint(self.folder, INDEX, self.images)

    def _frame(self, image: str, scale: Scale, scene: str) -> Frame:
        if image not in self.images:
            raise DataError(f"image {image!r:.200} is not listed under `images`")
        return image_frame(self.index.parse(SizedRecord, self.images[image]), self.folder, self.name, scene, scale)


def image_frame(entry: SizedRecord, folder: Path, source: str, scene: str, scale: Scale) -> Frame:
    """The frame of a listed image, without labels.

    Raises:
        DataError: the image is missing or of another size, the camera is impossible, or the pose is not rigid.
    """
    try:
        return sound_image(
            Frame(
                source=source,
                scene=scene,
                frame=entry.image,
                camera_id=f"{entry.width}x{entry.height}-f{entry.K[0]:.1f}",
                encoded_image=read_bounded(path_inside(folder, entry.image), MAX_IMAGE_BYTES),
                camera=entry.sized_camera(),
                intrinsics_source=IntrinsicsSource.GIVEN,
                world_T_cam=None if entry.T_world_cam is None else rigid(entry.T_world_cam, "T_world_cam"),
                scale=scale,
                depth_kind=DepthKind.Z,
                points=NO_POINTS,
            )
        )
    except DataError as error:
        raise DataError(f"image {entry.image}: {error}") from None


def _row(pair: object, number: int) -> str:
    images = [pair.get("a"), pair.get("b")] if isinstance(pair, dict) else []
    return "-".join([f"{number:05d}", *(Path(image).stem for image in images if isinstance(image, str))])


def _scale(given: str) -> Scale:
    try:
        return Scale(given)
    except ValueError:
        raise DataError(f"scale {given!r}: expected metric or relative") from None


def _check_inside(points_px: np.ndarray, frame: Frame) -> None:
    camera = frame.camera
    outside = ~camera.contains(points_px)
    if outside.any():
        first = points_px[outside][0]
        raise DataError(
            f"{int(outside.sum())} of {len(points_px)} correspondences lie outside image {frame.frame} of"
            f" {camera.width_px}x{camera.height_px} px, the first at ({first[0]:g}, {first[1]:g})"
        )
