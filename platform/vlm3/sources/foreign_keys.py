"""Unknown keys in an index: those that were meant for a key that is read are refused.

A key that decides metres, rays or poses must not be ignored only because it is misspelt, stands at another level of the
file, or has the name that another tool uses. Keys that have nothing to do with any of these are ignored.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

LENS = ("distortion", "coefficients", "distortion_k1k2p1p2")
FEWEST_LETTERS = 5
"""Letters of the shortest key that is still recognised with one wrong letter."""
PINHOLES = ("pinhole", "simple_pinhole", "perspective")


def _no_lens(value: Any) -> bool:
    if isinstance(value, str):
        return value.casefold() in ("", "none", *PINHOLES)
    return not any(value) if isinstance(value, list) else not value


class Other(NamedTuple):
    """Names that other tools use for something that an index says."""

    pattern: re.Pattern[str]
    """Matches the whole key, in snake case."""
    concerns: tuple[str, ...]
    """Our keys for the same thing: a reader that acts on none of them ignores the other name."""
    settled_by: tuple[str, ...]
    """Our keys that settle the matter: beside one of them the other name is ignored."""
    advice: str
    harmless: Callable[[Any], bool] = lambda _: False
    """Whether a value says only what holds anyway."""


def _other(pattern: str, ours: str, advice: str) -> Other:
    return Other(re.compile(pattern), (ours,), (ours,), advice)


OTHERS = (
    Other(
        re.compile(
            r"k[1-6]|p[12]|s[1-4]|d|xi|lens|(camera|cam|lens)_(model|type)|(is_)?fisheye|dist|dist_\w+"
            r"|(radial|tangential)(_\w+)?|(\w+_)?(distortions?|coeffs?|coefficients?)(_\w+)?"
        ),
        LENS,
        LENS,
        'a lens is `distortion` ("brown" or "fisheye") with its `coefficients` in OpenCV\'s order',
        _no_lens,
    ),
    Other(
        re.compile(
            r"(\w+_)?depth_(\w+_)?(scale|scaling|factor|divisor|multiplier|shift|offset|units?)(_\w+)?"
            r"|scale_factor|units_per_met(re|er)|met(re|er)s_per_unit"
        ),
        ("depth",),
        ("depth_scale",),
        "a depth image has `depth_scale`, its stored units per metre; listed depths are metres",
    ),
    Other(
        re.compile(r"(?!aabb_scale$)(\w+_)?(scale|scaling)(_\w+)?"),
        ("depth", "T_world_cam", "T_b_from_a"),
        (),
        'lengths are metres, or `scale` is "relative": apply the factor, and leave the key out',
        lambda value: bool(value == 1),
    ),
    Other(
        re.compile(r"depth_(kind|type|convention)|(is_)?ray_depth|depth_is_ray"),
        ("depth",),
        (),
        "depth is read along the optical axis: convert ray depth, and leave the key out",
        lambda value: value is False or str(value).casefold() in ("z", "z-depth", "z_depth"),
    ),
    _other(
        r"f|f_?[xy]|fl_?[xy]|c_?[xy]|focal(_\w+)?|(\w+_)?fov(_\w+)?|camera_angle_[xy]"
        r"|((cam|camera)_)?intrinsics?(_matrix)?|camera_matrix|cam_k",
        "K",
        "intrinsics are `K`: [fx, fy, cx, cy] in pixels",
    ),
    _other(r"w|(img|image)_?(w|width)", "width", "the image's size is `width` and `height`"),
    _other(r"h|(img|image)_?(h|height)", "height", "the image's size is `width` and `height`"),
    _other(
        r"transform_matrix|c2w|w2c|(cam|camera)_?(to|2)_?world|world_?(to|2)_?(cam|camera)|((cam|camera)_)?pose"
        r"|((cam|camera)_)?extrinsics?(_matrix)?|t_(cam|camera)_world|t_w_?c|t_c_?w|world_t_cam|cam_t_world",
        "T_world_cam",
        "a pose is `T_world_cam`: 4 rows of 4 numbers, camera to world, OpenCV axes",
    ),
    _other(
        r"file_?(path|name)|(img|image|rgb|colou?r)_?(path|file|name)|img|rgb|colou?r",
        "image",
        "the picture is `image`, a path below the folder",
    ),
    _other(
        r"depth_?(file|map|image|img|png|path)(_?(path|name))?",
        "depth",
        "the depth image is `depth`, a path below the folder",
    ),
    _other(r"scene_?(id|name)|scan(_?id)?", "scene", "the scene is `scene`, a text"),
    _other(r"bbox|box_?2d|bbox_(xyxy|xywh)", "bbox2d", "the region is `bbox2d`: [x0, y0, x1, y1] in pixels"),
)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one kind of record."""

    read: frozenset[str]
    """Keys that its reader acts on."""
    elsewhere: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Key that is read at another level of the file → where."""
    below: frozenset[str] = frozenset()
    """Keys that are read in the records below this one."""

    def fault(self, entry: Mapping[str, Any], given: Collection[str] = ()) -> str | None:
        """Why a record cannot be read as it stands, None where every key is read or has no meaning here.

        Args:
            entry: the record; keys with null count as missing.
            given: keys that are given elsewhere for this record, e.g. at the top of the file.
        """
        for key, value in entry.items():
            if key in self.read or value is None:
                continue
            fault = self._fault(key, value, entry, given)
            if fault is not None:
                return f"unknown key {key!r:.100}{fault}"
        return None

    def unknown(self, entry: Mapping[str, Any]) -> frozenset[str]:
        """Keys of a record that are not read."""
        return frozenset(entry.keys() - self.read)

    def _fault(self, key: str, value: Any, entry: Mapping[str, Any], given: Collection[str]) -> str | None:
        if key in self.elsewhere:
            return f": it belongs into {self.elsewhere[key]}"
        meant = _misspelt(key, self.read)
        if meant is not None and meant not in entry:
            return f"; did you mean {meant!r}?"
        other = _other_name(key)
        if other is None or (self.read | self.below).isdisjoint(other.concerns) or other.harmless(value):
            return None
        settled = any(entry.get(ours) is not None or ours in given for ours in other.settled_by)
        return None if settled else f": {other.advice}"


@lru_cache(maxsize=4096)
def _other_name(key: str) -> Other | None:
    name = _snake(key)
    return next((other for other in OTHERS if other.pattern.fullmatch(name)), None)


@lru_cache(maxsize=4096)
def _misspelt(key: str, valid: frozenset[str]) -> str | None:
    """The valid key that was meant: the same but for case and separators, or for one or two slips in typing."""
    return next((each for each in sorted(valid) if _near(_snake(key), _snake(each))), None)


def _snake(key: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[\s.\-]+", "_", key).casefold()


def _near(key: str, valid: str) -> bool:
    if key.replace("_", "") == valid.replace("_", ""):
        return True
    if len(valid) < FEWEST_LETTERS or key.startswith(f"{valid}_") or re.sub(r"_?\d+$", "", key) == valid:
        return False
    return _slips(key, valid) <= (1 if len(valid) < 2 * FEWEST_LETTERS else 2)


def _slips(one: str, other: str) -> int:
    """Number of letters left out, put in, replaced or swapped with their neighbour (Damerau 1964); 9 for many."""
    if abs(len(one) - len(other)) > 2:
        return 9
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        older, before, row = before, row, [i]
        for j, wanted in enumerate(other, start=1):
            cost = min(row[j - 1] + 1, before[j] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
    return row[-1]
