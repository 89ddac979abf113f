"""Records of an index: what it says about each image, and what it says once, at its top, about all of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from vlm3.config import StrictModel
from vlm3.errors import DataError, UserError
from vlm3.geometry.camera import Camera, Distortion, lens_fault
from vlm3.log import get_logger
from vlm3.scenes.schema import Scale
from vlm3.sources.foreign import Number, read_json
from vlm3.sources.foreign_keys import LENS, Keys

log = get_logger(__name__)
R = TypeVar("R", bound=StrictModel)
SHARED = frozenset(("scene", "K", "width", "height", *LENS, "depth_scale", "scale"))
"""Keys that may stand at the top of an index and hold for all records that do not give them."""
RECORD = frozenset((*SHARED, "id", "image", "depth", "T_world_cam"))
PAIR = frozenset(("a", "b", "scene", "scale", "T_b_from_a", "correspondences"))
LISTS = ("frames", "images", "pairs")


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]
"""A whole number in an index: `640.0` is as good as `640`."""
Four = Annotated[tuple[Number, ...], Field(min_length=4, max_length=4)]
MatrixRows = tuple[tuple[Number, ...], ...]
"""A matrix, row by row."""


class Listed(StrictModel):
    """Base of the entries that an index lists; unknown keys are ignored here (see `Keys`)."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=True)

    @classmethod
    def parse(cls, data: object, where: str) -> Self:
        """As `StrictModel.parse`, but a key with null counts as missing."""
        if isinstance(data, dict):
            data = {key: value for key, value in data.items() if value is not None}
        return super().parse(data, where)


class Lens(Listed):
    """The lens of a record: a model with its coefficients, in OpenCV's order."""

    distortion: Distortion | None = None
    coefficients: tuple[Number, ...] = ()
    distortion_k1k2p1p2: Annotated[tuple[Number, ...], Field(max_length=8)] = ()
    """Brown's coefficients; the same as `distortion: brown` with these `coefficients`."""

    @model_validator(mode="after")
    def _one_whole_lens(self) -> Self:
        if self.distortion_k1k2p1p2 and (self.distortion is not None or self.coefficients):
            raise ValueError("the lens is given twice: leave out distortion_k1k2p1p2, or distortion and coefficients")
        if self.distortion is None and self.coefficients:
            raise ValueError("coefficients of no lens: give distortion, brown or fisheye, beside them")
        if len(self.distortion_k1k2p1p2) in (6, 7):
            raise ValueError(f"distortion_k1k2p1p2: expected 4, 5 or 8 numbers, found {len(self.distortion_k1k2p1p2)}")
        fault = lens_fault(self.distortion or Distortion.NONE, self.coefficients)
        if fault is not None:
            raise ValueError(f"{fault}, found {len(self.coefficients)}")
        return self

    def lens(self) -> tuple[Distortion, tuple[float, ...]]:
        """The distortion model and its coefficients."""
        if self.distortion_k1k2p1p2:
            return Distortion.BROWN, self.distortion_k1k2p1p2
        return self.distortion or Distortion.NONE, self.coefficients


class Shared(Lens):
    """What the top of an index says about all its records."""

    scene: str | None = None
    K: Four | None = None
    width: Whole | None = None
    height: Whole | None = None
    depth_scale: Annotated[Number, Field(gt=0, allow_inf_nan=False)] | None = None
    """Stored units per metre."""
    scale: Scale | None = None
    """`relative` where lengths are right only up to a factor."""


class Record(Shared):
    """An image that an index lists."""

    image: str
    K: Four
    """fx, fy, cx, cy."""
    id: str | None = None
    depth: str | None = None
    T_world_cam: MatrixRows | None = None
    """Camera to world, 4x4, OpenCV axes."""

    def camera(self, width_px: int, height_px: int) -> Camera:
        """The camera of an image of this size."""
        fx, fy, cx, cy = self.K
        return Camera(width_px, height_px, fx, fy, cx, cy, *self.lens())


class SizedRecord(Record):
    """An image that must be listed with its size."""

    width: Whole
    height: Whole

    def sized_camera(self) -> Camera:
        """The camera of this image."""
        return self.camera(self.width, self.height)


class ListedPair(Listed):
    """A pair of images that an index lists."""

    a: str
    b: str
    scene: str | None = None
    scale: str | None = None
    """`metric` where translations are metres."""
    T_b_from_a: tuple[Four, ...] | None = None
    """X_b = T · X_a."""
    correspondences: tuple[Annotated[tuple[Number, ...], Field(min_length=4)], ...] = ()
    """x, y in image a, then x, y in image b; further columns are ignored."""


@dataclass(frozen=True, slots=True)
class Index:
    """What the top of an index file says, and how its records are read."""

    name: str
    shared: Mapping[str, Any]
    """Plain values of the keys in `SHARED`."""
    keys: Keys
    """Keys of its records."""

    def parse(self, model: type[R], entry: object) -> R:
        """A record, completed by what holds for all records.

        Raises:
            DataError: an unknown key was meant for a known one, or a lens is null although all records have one.
            ConfigError: a key is missing or has an invalid value.
        """
        if not isinstance(entry, dict):
            return model.parse(entry, self.name)
        fault = self.keys.fault(entry, self.shared)
        if fault is not None:
            raise DataError(f"{self.name}: {fault}")
        return model.parse(_merged(self.shared, entry, self.name), self.name)


def read_index(file: Path, records: str, keys: Keys) -> tuple[Index, dict[str, Any]]:
    """Read an index file: what holds for all of its records, and its whole content.

    Args:
        file: a JSON file.
        records: key of the list of its records.
        keys: keys of the records.

    Raises:
        DataError: as `read_json`, or a key at its top does not belong there or has an invalid value.
    """
    content = read_json(file)
    if not isinstance(content, dict):
        return Index(file.name, {}, keys), {}
    entries = content.get(records)
    listed = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    own = dict.fromkeys(RECORD - SHARED - {"id"}, f"each of `{records}`") | dict.fromkeys(
        PAIR - RECORD, "each of `pairs`"
    )
    fault = Keys(frozenset((*SHARED, *LISTS)), own, keys.read).fault(content, _in_all(listed))
    if fault is not None:
        raise DataError(f"{file}: {fault}")
    shared = {key: content[key] for key in SHARED if content.get(key) is not None}
    try:
        Shared.parse(shared, str(file))
    except UserError as error:
        raise DataError(str(error)) from None
    say_unread(str(file), content.keys() - SHARED - {*LISTS}, unread(listed, keys))
    return Index(file.name, shared, keys), content


def unread(entries: Iterable[Mapping[str, Any]], keys: Keys) -> frozenset[str]:
    """Keys of these records that are not read."""
    return frozenset[str]().union(*(keys.unknown(entry) for entry in entries))


def say_unread(file: str, *found: Iterable[str]) -> None:
    """Log one line that names the keys of a file that are ignored; nothing where there are none."""
    names = sorted(set[str]().union(*found))
    if names:
        _say(f"{file}: {len(names)} keys are not read: {', '.join(names)[:300]}")


@lru_cache(maxsize=1024)
def _say(text: str) -> None:
    log.info("%s", text)


def _in_all(entries: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Known keys that every record gives."""
    return RECORD.intersection(*entries) if entries else frozenset()


def _merged(shared: Mapping[str, Any], entry: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A record, with the shared value of each key that it lacks.

    A lens of its own replaces the shared one as a whole; coefficients alone keep the shared model.
    """
    said = {key: value for key, value in entry.items() if value is not None}
    if shared.keys() & LENS and any(key in entry and entry[key] is None for key in LENS):
        raise DataError(f'{name}: null for a lens where all have one: write "distortion": "none", or leave the key out')
    own = said.keys() & LENS
    dropped = LENS if own - {"coefficients"} else ("distortion_k1k2p1p2", "coefficients") if own else ()
    return {key: value for key, value in shared.items() if key not in dropped} | said
