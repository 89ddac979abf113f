"""Rendered rooms as a source: RGB, exact depth, boxes and poses, made from a seed alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Self

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from pydantic import Field, model_validator

from vlm3.config import StrictModel
from vlm3.geometry.camera import Camera, Distortion
from vlm3.geometry.depth import DepthKind
from vlm3.scenes.depth_labels import random_labels, shrink_depth
from vlm3.scenes.schema import Box, Frame, FullDepth, IntrinsicsSource, Scale
from vlm3.seeds import generator
from vlm3.sources.rooms.layout import Furniture, furnish
from vlm3.sources.rooms.render import Rendered, render

RENDERER = 2
"""Version of the renderer: goes up when the same configuration gives other pictures."""
JPEG_QUALITY = 95
FULL_DEPTH_M_PER_UNIT = 0.001
MIN_VISIBLE_PX = 30
LENSES: tuple[tuple[Distortion, tuple[float, ...]], ...] = (
    (Distortion.NONE, ()),
    (Distortion.BROWN, (-0.12, 0.02, 0.001, -0.001)),
    (Distortion.NONE, ()),
    (Distortion.FISHEYE, (-0.02, 0.004, 0.0, 0.0)),
)


class RoomsConfig(StrictModel):
    """What is rendered."""

    scenes: Annotated[int, Field(ge=1, le=1_000_000)]
    frames_per_scene: Annotated[int, Field(ge=1, le=1000)] = 8
    width_px: Annotated[int, Field(ge=32, le=4096)] = 160
    height_px: Annotated[int, Field(ge=32, le=4096)] = 120
    focal_range_px: tuple[float, float] = (70.0, 180.0)
    """Shortest and longest focal length of the source's four cameras, at 160 px of width; scaled with the width."""
    size_range_m: tuple[float, float] = (2.5, 10.0)
    """Shortest and longest side of a room."""
    extra_furniture: Annotated[int, Field(ge=0, le=50)] = 0
    """Pieces that are tried besides the 3 to 11 that go with a room's size: for questions about objects."""
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name in ("focal_range_px", "size_range_m"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name}: expected 0 < shortest ≤ longest, found {low}, {high}")
        if self.size_range_m[0] < 2.0:
            raise ValueError("size_range_m: rooms below 2 m leave the camera no place to stand")
        return self


@dataclass(frozen=True, slots=True)
class RoomsReader:
    """Renders scenes on demand; a scene's content depends on the seed and its number only."""

    config: RoomsConfig
    source: str = "rooms"

    @property
    def posed(self) -> bool:
        """True: every frame has a pose."""
        return True

    def identity(self) -> str:
        """The configuration and the version of the renderer."""
        return f"rooms {RENDERER} {self.config.model_dump_json()}"

    def scenes(self) -> tuple[str, ...]:
        """Names of all scenes."""
        return tuple(f"room-{number:06d}" for number in range(self.config.scenes))

    def same_pictures(self) -> Mapping[str, str]:
        """Empty: no two rooms share a picture."""
        return {}

    def frames(self, scene: str) -> Iterator[Frame]:
        """Render the frames of a scene."""
        number = int(scene.removeprefix("room-"))
        rng = generator(self.config.seed, "room", number)
        room = furnish(rng, self.config.frames_per_scene, self.config.size_range_m, self.config.extra_furniture)
        lens = int(rng.integers(len(LENSES)))
        camera = camera_of(self.config, lens)
        for index, world_T_cam in enumerate(room.world_T_cam):
            rendered = render(room, camera, world_T_cam)
            yield Frame(
                source=self.source,
                scene=scene,
                frame=f"{index:04d}",
                camera_id=f"lens-{lens}",
                encoded_image=simplejpeg.encode_jpeg(rendered.rgb, JPEG_QUALITY, "RGB", "420"),
                camera=camera,
                intrinsics_source=IntrinsicsSource.GIVEN,
                world_T_cam=world_T_cam,
                scale=Scale.METRIC,
                depth_kind=DepthKind.Z,
                points=random_labels(rendered.z_depth_m, camera, rng),
                small_depth=shrink_depth(rendered.z_depth_m, camera),
                full_depth=_full_depth(rendered.z_depth_m),
                boxes=_boxes(rendered, room.furniture, world_T_cam),
                time_s=index / 10,
            )


def camera_of(config: RoomsConfig, lens: int) -> Camera:
    """One of the source's cameras; focals are spread evenly in logarithm, principal points are a little off centre."""
    scale = config.width_px / 160
    short, long = (focal * scale for focal in config.focal_range_px)
    focal = short * (long / short) ** (lens / (len(LENSES) - 1))
    rng = generator(config.seed, "lens", lens)
    # Keeps the principal point inside an image that is much wider than high.
    most_px = 0.45 * np.array([config.width_px, config.height_px])
    off_x, off_y = np.clip(rng.uniform(-3, 3, 2) * scale, -most_px, most_px)
    distortion, coefficients = LENSES[lens]
    return Camera(
        config.width_px,
        config.height_px,
        focal,
        focal * (1 + float(rng.uniform(-0.01, 0.01))),
        (config.width_px - 1) / 2 + float(off_x),
        (config.height_px - 1) / 2 + float(off_y),
        distortion,
        coefficients,
    )


def _full_depth(z_depth_m: NDArray[np.float64]) -> FullDepth:
    units = np.nan_to_num(z_depth_m / FULL_DEPTH_M_PER_UNIT, nan=0.0)
    written, png = cv2.imencode(".png", np.clip(np.rint(units), 0, 65535).astype(np.uint16))
    if not written:
        raise RuntimeError("OpenCV could not encode a 16-bit PNG")
    return FullDepth(png.tobytes(), FULL_DEPTH_M_PER_UNIT)


def _boxes(rendered: Rendered, furniture: tuple[Furniture, ...], world_T_cam: NDArray[np.float64]) -> tuple[Box, ...]:
    """The furniture that can be seen, with the rectangle of its visible pixels."""
    cam_R_world = world_T_cam[:3, :3].T
    boxes = []
    for index, item in enumerate(furniture):
        v, u = np.nonzero(rendered.furniture == index)
        if len(u) < MIN_VISIBLE_PX:
            continue
        center = cam_R_world @ (item.center_m - world_T_cam[:3, 3])
        rotation = cam_R_world @ item.world_R_object
        boxes.append(
            Box(
                label=item.label,
                center_cam_m=(float(center[0]), float(center[1]), float(center[2])),
                size_m=(float(item.size_m[0]), float(item.size_m[1]), float(item.size_m[2])),
                cam_R_object=tuple(float(value) for value in rotation.ravel()),
                region_px=(float(u.min()), float(v.min()), float(u.max()), float(v.max())),
            )
        )
    return tuple(boxes)
