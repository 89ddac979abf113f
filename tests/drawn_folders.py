"""Two small folders as data sets are published, drawn by arithmetic: what is in them can be said again years later.

`python tests/drawn_folders.py FOLDER` writes `yard`, RGB-D with poses, and `marks`, single views with depth labels. It
imports nothing of the platform, so that any version of it can ingest the folders.
"""

import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

WIDTH_PX, HEIGHT_PX = 48, 36
FX_PX, FY_PX, CX_PX, CY_PX = 40.0, 41.0, 23.5, 17.5
LENS = {"north": (), "east": (0.02, -0.003, 0.001, 0.0005), "south": ()}
"""k1, k2, p1, p2 of each scene of the yard; none is a pinhole."""
FRAMES = 4
HOLE_PX, FAR_PX = (5, 7), (30, 40)
"""(row, column) without depth: 0 and 65535 in the file."""
MARKS_PX = ((3, 4), (40, 5), (10, 30), (24, 18))
"""(x, y) of the labels of each mark."""


@dataclass(frozen=True, slots=True)
class YardFrame:
    """A frame that looks at a slanted wall."""

    scene: str
    number: int

    @property
    def name(self) -> str:
        """Of its files, without ending."""
        return f"{self.scene}-{self.number}"

    @property
    def world_T_cam(self) -> NDArray[np.float64]:
        """(4, 4): small steps to the right and ahead."""
        pose = np.eye(4)
        pose[:3, 3] = 0.15 * self.number, 0.02 * self.number, 0.05 * self.number
        return pose

    @property
    def z_depth_mm(self) -> NDArray[np.uint16]:
        """(H, W) depth of the wall z = 3 + 0.3 x (metres, world axes), as it is written."""
        x_m, _, z_m = self.world_T_cam[:3, 3]
        ray_x = (np.arange(WIDTH_PX) - CX_PX) / FX_PX
        row = np.rint(1000 * (3 + 0.3 * x_m - z_m) / (1 - 0.3 * ray_x)).astype(np.uint16)
        depth = np.tile(row, (HEIGHT_PX, 1))
        depth[HOLE_PX], depth[FAR_PX] = 0, 65535
        return depth

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """(H, W, 3): another picture for each frame."""
        return picture(10 * list(LENS).index(self.scene) + self.number)


def yard() -> tuple[YardFrame, ...]:
    """All frames, scene by scene."""
    return tuple(YardFrame(scene, number) for scene in LENS for number in range(FRAMES))


def picture(number: int) -> NDArray[np.uint8]:
    """(H, W, 3) of slopes and stripes; red at the top left corner, and nowhere else."""
    rows, columns = np.mgrid[:HEIGHT_PX, :WIDTH_PX]
    channels = (columns * 2 + number, rows * 4 + 3 * number, (rows // 3 + columns // 4 + number) % 5 * 40)
    image = np.stack(channels, axis=-1).astype(np.uint8)
    image[:4, :4] = 255, 0, 0
    return image


def mark_depth_m(number: int) -> tuple[float, ...]:
    """Of the labels of a mark."""
    return tuple(1.5 + number + 0.25 * place for place in range(len(MARKS_PX)))


def marks() -> dict[str, bytes]:
    """Images by name: upright ones of three kinds, and one that EXIF stands on its head."""
    upside_down = Image.Exif()
    upside_down[0x0112] = 3
    deep = picture(22).astype(np.uint16) * 257
    return {
        "plain.png": _written("PNG", picture(20)),
        "slow.jpg": _written("JPEG", picture(21), progressive=True, quality=90),
        "deep.png": cv2.imencode(".png", deep[..., ::-1])[1].tobytes(),
        "turned.png": _written("PNG", picture(23), exif=upside_down.tobytes()),
    }


def write_yard(folder: Path) -> None:
    """`frames.json`, colour and 16-bit depth."""
    folder.mkdir(parents=True)
    entries = []
    for frame in yard():
        (folder / f"{frame.name}.png").write_bytes(_written("PNG", frame.rgb))
        (folder / f"{frame.name}-depth.png").write_bytes(cv2.imencode(".png", frame.z_depth_mm)[1].tobytes())
        entry = {"image": f"{frame.name}.png", "depth": f"{frame.name}-depth.png", "scene": frame.scene}
        entry |= {"K": [FX_PX, FY_PX, CX_PX, CY_PX], "T_world_cam": frame.world_T_cam.tolist()}
        entries.append(entry | ({"distortion_k1k2p1p2": LENS[frame.scene]} if LENS[frame.scene] else {}))
    (folder / "frames.json").write_text(json.dumps({"frames": entries}))


def write_marks(folder: Path) -> None:
    """JSON lines and images."""
    folder.mkdir(parents=True)
    lines = []
    for number, (name, encoded) in enumerate(marks().items()):
        (folder / name).write_bytes(encoded)
        labels = {"pixel_coords": MARKS_PX, "depth": mark_depth_m(number)}
        lines.append({"image": name, "intrinsics": [FX_PX, FY_PX, CX_PX, CY_PX, WIDTH_PX, HEIGHT_PX], **labels})
    (folder / "labels.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def _written(kind: str, image: NDArray[np.uint8], **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind, **options)
    return stream.getvalue()


if __name__ == "__main__":
    write_yard(Path(sys.argv[1]) / "yard")
    write_marks(Path(sys.argv[1]) / "marks")
