"""SpatialRGPT-Bench (Cheng et al., NeurIPS 2024): published questions about regions of images, in JSON.

Entries hold `id`, `image_info` (`file_path`, `width`, `height`), `bbox`, `qa_info` (`type`, `category`), `text_q` and
`conversations`; regions are numbered in the order of `bbox`. Questions are asked in the words of the model's own
template set; the published answers are the ground truth. Masks are not used: regions are named by their boxes.
"""

import ast
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field

from vlm3.asking.items import Item, ObjectItem, RegionQuestion
from vlm3.asking.numbers import METRES_PER_UNIT
from vlm3.asking.object_questions import AnswerForm, ObjectQuestion
from vlm3.benchmarks.frames import NO_POINTS, sound_image
from vlm3.config import StrictModel
from vlm3.errors import DataError, nearest
from vlm3.geometry.camera import Camera
from vlm3.geometry.depth import DepthKind
from vlm3.scenes.schema import Frame, IntrinsicsSource, Scale
from vlm3.sources.foreign import MAX_IMAGE_BYTES, MAX_INDEX_BYTES, Number, path_inside, read_bounded

HORIZONTAL_FOV_DEG = 60.0
"""Field of view of entries without intrinsics: that of common cameras. Only the scale of the view depends on it."""
Side = Annotated[int, Field(ge=1, le=65536)]
_LENGTH = re.compile(r"(?<![0-9.,])([0-9]+(?:\.[0-9]+)?)\s*([a-z]+)\b", re.ASCII | re.IGNORECASE)
_CLOCK = re.compile(r"\b(1[0-2]|[1-9])(?::00)?\s*o['’]?\s*clock", re.ASCII | re.IGNORECASE)
_REGION = re.compile(r"\[([01])\]", re.ASCII)
_YES_NO = re.compile(r"\s*(?:(?P<yes>yes|indeed|correct)|no|incorrect|in fact|actually)\b", re.ASCII | re.IGNORECASE)


class ImageInfo(StrictModel):
    """The image of an entry."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=True)

    file_path: str
    width: Side
    height: Side


class QuestionInfo(StrictModel):
    """The kind of question of an entry."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=True)

    category: str


class Said(StrictModel):
    """One turn of a conversation."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=True)

    value: str


class Entry(StrictModel):
    """One question."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=True)

    image_info: ImageInfo
    qa_info: QuestionInfo
    bbox: Annotated[
        tuple[Annotated[tuple[Number, ...], Field(min_length=4, max_length=4)], ...], Field(min_length=1, max_length=8)
    ]
    conversations: Annotated[tuple[Said, ...], Field(min_length=2)]
    intrinsics: Annotated[tuple[Number, ...], Field(min_length=4, max_length=4)] | None = None
    """fx, fy, cx, cy, where somebody has added them to the published file."""


@dataclass(frozen=True, slots=True)
class SpatialRgptBench:
    """SpatialRGPT-Bench; a row is a question."""

    name: str
    file: Path
    images: Path
    entries: Mapping[str, Any]
    """Name of the row → entry as it stands in the file."""

    @classmethod
    def open(cls, file: Path, name: str, images: Path | None = None) -> Self:
        """Read the questions of a JSON list or of JSON lines.

        Args:
            file: file of the questions.
            name: name of the benchmark.
            images: folder below which images lie; default: that of the file.

        Raises:
            DataError: no such file, or no entry of this form in it.
        """
        entries = _entries(file)
        if not any(isinstance(entry, dict) and {"qa_info", "bbox"} <= entry.keys() for entry in entries):
            raise DataError(f"{file}: expected SpatialRGPT-Bench entries with `bbox` and `qa_info`, found none")
        named: dict[str, Any] = {}
        for number, entry in enumerate(entries):
            given = entry.get("id") if isinstance(entry, dict) else None
            row = f"{number:05d}" if given is None else f"{number:05d}-{given}"
            named[row] = entry
        return cls(name, file, images or file.parent, named)

    def rows(self) -> tuple[str, ...]:
        """Names of the questions: place in the file, and id."""
        return tuple(self.entries)

    def read(self, row: str) -> tuple[Item, ...]:
        """One question with its image. Raises DataError or ConfigError naming what is bad."""
        found = self.entries[row]
        if not isinstance(found, dict):
            raise DataError(f"expected a mapping, found {type(found).__name__}")
        entry = Entry.parse({key: _plain(value) for key, value in found.items()}, self.file.name)
        question = _question(entry.qa_info.category)
        if len(entry.bbox) < question.objects:
            raise DataError(f"{question.value} is about {question.objects} regions, bbox has {len(entry.bbox)}")
        regions = tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in entry.bbox[: question.objects])
        for region in regions:
            _check_region(region, entry.image_info)
        value = published_value(question, entry.conversations[1].value)
        frame = self._frame(row, entry)
        asked = RegionQuestion(question, regions, value)
        return (ObjectItem(row, entry.image_info.file_path, frame, (asked,)),)

    def identity(self) -> str:
        """Hash of the file and of the sizes of its images."""
        named = (entry.get("image_info") if isinstance(entry, dict) else None for entry in self.entries.values())
        infos = [_plain(info) for info in named]
        images = sorted({str(info.get("file_path")) for info in infos if isinstance(info, dict)})
        digest = hashlib.blake2b(self.file.read_bytes(), digest_size=16)
        for image in images:
            try:
                size = path_inside(self.images, image).stat().st_size
            except (DataError, OSError):
                size = -1
            digest.update(f"{image} {size}\n".encode())
        return digest.hexdigest()

    def _frame(self, row: str, entry: Entry) -> Frame:
        info = entry.image_info
        focal_px = info.width / 2 / math.tan(math.radians(HORIZONTAL_FOV_DEG) / 2)
        centre = ((info.width - 1) / 2, (info.height - 1) / 2)
        fx, fy, cx, cy = entry.intrinsics or (focal_px, focal_px, *centre)
        source = IntrinsicsSource.FIELD_OF_VIEW if entry.intrinsics is None else IntrinsicsSource.GIVEN
        return sound_image(
            Frame(
                source=self.name,
                scene=info.file_path,
                frame=row,
                camera_id=source.value,
                encoded_image=read_bounded(path_inside(self.images, info.file_path), MAX_IMAGE_BYTES),
                camera=Camera(info.width, info.height, fx, fy, cx, cy),
                intrinsics_source=source,
                world_T_cam=None,
                scale=Scale.METRIC,
                depth_kind=DepthKind.Z,
                points=NO_POINTS,
            )
        )


def published_value(question: ObjectQuestion, answer: str) -> float:
    """The number of `AnswerForm` that a published answer in free text states.

    Raises:
        DataError: it states none, or more than one length.
    """
    match question.form:
        case AnswerForm.YES_NO:
            if start := _YES_NO.match(answer):
                return 1.0 if start["yes"] else 0.0
        case AnswerForm.CHOICE:
            if region := _REGION.search(answer):
                return float(region[1]) + 1
        case AnswerForm.CLOCK:
            if hour := _CLOCK.search(answer):
                return float(hour[1])
        case AnswerForm.LENGTH:
            units = [(float(length[1]), METRES_PER_UNIT.get(length[2].lower())) for length in _LENGTH.finditer(answer)]
            lengths = [number * metres for number, metres in units if metres is not None]
            if len(lengths) == 1:
                return lengths[0]
    raise DataError(f"published answer {answer!r:.200} to {question.value} states no {question.form.value}")


def _question(category: str) -> ObjectQuestion:
    try:
        return ObjectQuestion(category)
    except ValueError:
        known = [question.value for question in ObjectQuestion]
        raise DataError(f"category {category!r} is none that is known{nearest(category, known)}") from None


def _check_region(region: tuple[float, float, float, float], info: ImageInfo) -> None:
    x0, y0, x1, y1 = region
    # Published boxes may reach one pixel beyond the image.
    inside = -1 <= x0 < x1 <= info.width and -1 <= y0 < y1 <= info.height
    if not inside:
        raise DataError(f"region {region} does not lie inside the image of {info.width}x{info.height} px")


def _entries(file: Path) -> list[Any]:
    text = read_bounded(file, MAX_INDEX_BYTES).decode("utf-8", "replace").strip()
    try:
        found = (
            json.loads(text)
            if text.startswith("[")
            else [json.loads(line) for line in text.split("\n") if line.strip()]
        )
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: not JSON: {error}") from None
    return found if isinstance(found, list) else [found]


def _plain(value: Any) -> Any:
    """A value; the text of a Python list or dictionary is evaluated, as tables on the hub hold nested values so."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return value
    return value
