"""Checks the names in a request: only declared ones, each once. Others are refused, with the name probably meant.

If the server ignored what a client sends, its answers would be in wrong metres: for example a lens under another tool's
key, a second `points`, or a field of view in the query.
"""

import re
from collections.abc import Collection, Iterable

from starlette.datastructures import UploadFile

from serve.schemas import Intrinsics
from vlm3.errors import closest, nearest

FIELDS = ("image", "points", "intrinsics", "horizontal_fov_deg", "interval")
"""Fields of the form."""
KEYS = tuple(Intrinsics.model_fields)
"""Keys of the JSON in `intrinsics`."""
HOW_TO_GIVE_INTRINSICS = (
    'send intrinsics as JSON {"fx_px": …, "fy_px": …, "cx_px": …, "cy_px": …}, or horizontal_fov_deg as a number'
)
_OTHERS = {
    "fx_px": r"(f|fl|focal|focal_length)_?x(_\w+)?|f|fl|focal(_length)?(_px|_pixels|_\w*mm)?",
    "fy_px": r"(f|fl|focal|focal_length)_?y(_\w+)?",
    "cx_px": r"(c|pp|principal(_?point)?)_?x(_\w+)?|[ux]_?0|principal_?point(_px)?",
    "cy_px": r"(c|pp|principal(_?point)?)_?y(_\w+)?|[vy]_?0",
    "coefficients": r"k[1-6]|p[12]|s[1-4]|d|dist|(radial|tangential)(_\w+)?|\w*coeff(icient)?s?(_\w+)?"
    r"|dist(ortion)?s?_(?!model|type)\w+",
    "distortion": r"(camera|cam|lens|dist|distortion|projection)_(model|type)|(is_)?fisheye|lens",
    "intrinsics": r"k|((cam|camera)_)?(k|matrix|intrinsics?|calib(ration)?)(_(k|matrix|params))?|camera|calib",
    "horizontal_fov_deg": r"([hx]_?)?fov(_?[hx])?(_(deg|rad)\w*)?|(horizontal_)?field_of_view(_\w+)?|camera_angle_x",
    "interval": r"intervals?|level|confidence(_(level|interval))?|coverage|quantiles?|ci|uncertainty|alpha",
    "image": r"(image|img|photo|picture|rgb)(_?(file|path|url|bytes|data))?|images|files?|upload",
    "points": r"(points?|pixels?|coords?|coordinates?|uvs?|xys?)(_(px|2d|uv|xy))?|[uvxy]",
}
"""Our name → pattern of the names that other tools use for it; matches the whole name, in snake case."""
_WORDS = {"focal_px": "fx_px", "camera_model": "distortion", "field_of_view_deg": "horizontal_fov_deg"}
"""Some of these other names spelt out → our name, to recognise them when misspelt."""
_SIZE = re.compile(r"[wh]|(image_?|img_?)?(w|h|width|height|size|shape|resolution)(_px)?")


def form_fault(parts: Iterable[tuple[str, str | UploadFile]]) -> str | None:
    """What is wrong with the parts of a form; None if each is declared, sent once, and a file or text as expected."""
    seen: set[str] = set()
    for name, value in parts:
        if name not in FIELDS:
            return unknown("form field" if isinstance(value, str) else "file", name, FIELDS)
        if name in seen:
            return f"form field {name!r} is sent twice: send it once"
        if name != "image" and not isinstance(value, str):
            return f"form field {name!r}: expected text, found a file (curl: -F '{name}=<FILE', with < and not @)"
        # A shell variable that is not set gives an empty field, which FastAPI would treat as not sent.
        if name != "image" and not str(value).strip():
            return f"form field {name!r} is empty: give it a value, or leave it out"
        seen.add(name)
    return None


def query_fault(names: Iterable[str]) -> str | None:
    """What is wrong with the query of a URL, which takes no parameters; None if it has none."""
    for name in names:
        if name in FIELDS:
            return f"query parameter {name!r}: only the form is read, send it as a form field"
        return unknown("query parameter", name, FIELDS)
    return None


def keys_fault(keys: Iterable[str]) -> str | None:
    """What is wrong with the keys of the JSON in `intrinsics`; None if all are declared."""
    name = next((key for key in keys if key not in KEYS), None)
    return None if name is None else unknown("key", name, KEYS)


def unknown(what: str, name: str, valid: Collection[str]) -> str:
    """Message about a name that is not in `valid`, with the form field or JSON key that was probably meant."""
    said = f"unknown {what} {name!r:.100}"
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[\s.\-]+", "_", name[:100]).casefold()
    if _SIZE.fullmatch(snake):
        return f"{said}: the size is the picture's own, leave it out"
    meant = snake if snake in KEYS else None
    meant = meant or next((ours for ours, pattern in _OTHERS.items() if re.fullmatch(pattern, snake)), None)
    meant = meant or closest(snake, {*valid, *KEYS, *_WORDS})
    if meant is None:
        return said + nearest(name, valid)
    meant = _WORDS.get(meant, meant)
    how = f" {HOW_TO_GIVE_INTRINSICS}" if meant not in valid or meant == "intrinsics" else ""
    return f"{said}; did you mean {meant!r}?{how}"
