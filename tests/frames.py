"""Frames made in a line, compared to the last bit, and a reader of them."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from vlm3.geometry.camera import Camera
from vlm3.geometry.depth import DepthKind
from vlm3.scenes.schema import Box, DepthMap, Frame, FullDepth, IntrinsicsSource, Scale
from vlm3.seeds import generator
from vlm3.sources.reader import Rejection


def make_frame(scene: str, number: int, *, source: str = "made", posed: bool = True) -> Frame:
    """A small valid frame with every field filled; its content depends on the arguments alone."""
    rng = generator(source, scene, number)
    pose = np.eye(4)
    pose[:3, 3] = 0.1 * number, 0, 0
    z_depth_m = np.full((24, 32), 3.0, np.float32)
    z_depth_m[0, 0] = np.nan
    image = rng.integers(0, 255, (24, 32, 3), np.uint8)
    return Frame(
        source=source,
        scene=scene,
        frame=f"{number:04d}",
        camera_id="cam0",
        encoded_image=cv2.imencode(".png", image)[1].tobytes(),
        camera=Camera(32, 24, 30.0, 31.0, 15.5, 11.5),
        intrinsics_source=IntrinsicsSource.GIVEN,
        world_T_cam=pose if posed else None,
        scale=Scale.METRIC,
        depth_kind=DepthKind.Z,
        points=np.column_stack([rng.uniform(0, 31, 20), rng.uniform(0, 23, 20), np.full(20, 3.0)]).astype(np.float32),
        small_depth=DepthMap(z_depth_m, 30.0, 31.0, 15.5, 11.5),
        full_depth=FullDepth(cv2.imencode(".png", np.full((24, 32), 3000, np.uint16))[1].tobytes(), 0.001),
        boxes=(Box("chair", (0.0, 0.0, 3.0), (1.0, 1.0, 1.0), (1, 0, 0, 0, 1, 0, 0, 0, 1), (1.0, 2.0, 9.0, 9.0)),),
        time_s=float(number),
    )


@dataclass(frozen=True)
class MadeReader:
    """A source of made frames; some of them bad on request."""

    sizes: tuple[int, ...]
    """Frames of each scene."""
    source: str = "made"
    posed: bool = True
    bad: tuple[tuple[str, int], ...] = ()
    """(scene, number) of frames whose image is damaged."""

    def identity(self) -> str:
        """Everything there is to know."""
        return repr(self)

    def scenes(self) -> tuple[str, ...]:
        """scene-0, scene-1, ..."""
        return tuple(f"scene-{i}" for i in range(len(self.sizes)))

    def same_pictures(self) -> Mapping[str, str]:
        """No scene shows what another one does."""
        return {}

    def frames(self, scene: str) -> Iterator[Frame | Rejection]:
        """Frames of a scene."""
        for number in range(self.sizes[int(scene.removeprefix("scene-"))]):
            frame = make_frame(scene, number, source=self.source, posed=self.posed)
            if (scene, number) in self.bad:
                frame = dataclasses.replace(frame, encoded_image=frame.encoded_image[:40])
            yield frame


def assert_same_frame(found: Frame, expected: Frame) -> None:
    """Every field is equal, arrays to the bit and NaN to NaN."""
    for field in dataclasses.fields(Frame):
        assert_same(getattr(found, field.name), getattr(expected, field.name), field.name)


def assert_same(found: object, expected: object, name: str) -> None:
    """Two fields of frames are equal."""
    if isinstance(expected, DepthMap):
        assert isinstance(found, DepthMap)
        for field in dataclasses.fields(DepthMap):
            assert_same(getattr(found, field.name), getattr(expected, field.name), f"{name}.{field.name}")
    elif isinstance(expected, np.ndarray):
        assert isinstance(found, np.ndarray)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape), name
        assert found.tobytes() == expected.tobytes(), name
    else:
        assert found == expected, name
        assert type(found) is type(expected), name
