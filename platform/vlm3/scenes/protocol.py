"""What every source of frames offers, and what becomes of a frame that cannot be used."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from vlm3.scenes.schema import Frame


@dataclass(frozen=True, slots=True)
class Rejection:
    """A frame that was left out, and why."""

    source: str
    scene: str
    frame: str
    reason: str


class SceneReader(Protocol):
    """Frames of a dataset, scene by scene. Readers are picklable and read pixels only when a frame is asked for."""

    @property
    def source(self) -> str:
        """Name of the dataset."""

    @property
    def posed(self) -> bool:
        """True when the frames of a scene have poses in one world; False for single views."""

    def scenes(self) -> tuple[str, ...]:
        """Names of all scenes, in order; cheap."""

    def frames(self, scene: str) -> Iterator[Frame | Rejection]:
        """The frames of a scene, read one by one; in place of a bad one comes a Rejection, and reading goes on."""

    def same_pictures(self) -> Mapping[str, str]:
        """Scenes that show a picture of an earlier scene → that scene: no picture may be in both splits."""

    def identity(self) -> str:
        """A text that changes when the data change: a source of the same identity need not be ingested again."""
