"""Findings that need no second view: soundness, cameras, images, time, labels."""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from hashlib import blake2b
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vlm3.doctor.finding import Finding, Verdict, graded
from vlm3.errors import DataError
from vlm3.geometry.camera import Camera
from vlm3.geometry.depth import DepthKind, convert_depth
from vlm3.geometry.pixels import scaled_px
from vlm3.scenes.checks import check_frame
from vlm3.scenes.depth_labels import depth_camera
from vlm3.scenes.protocol import Rejection
from vlm3.scenes.schema import Frame, Scale
from vlm3.storage.images import TurnedImageError, decode_size

FIELD_OF_VIEW_DEG = (10.0, 150.0)
MOST_OFF_CENTRE = 0.1
"""Largest usual distance of the principal point from the centre, as a share of the image's size."""
MOST_ASPECT = 1.1
"""Largest usual ratio of fx and fy, either way."""
FEW_DEPTH = 0.05
USUAL_DEPTH_M = (0.1, 150.0)
"""Usual range of the median depth of photographed scenes."""


def diagnose_frames(items: Sequence[Frame | Rejection], most_rejected: float) -> list[Finding]:
    """All findings that need no second view.

    Args:
        items: frames that were read, and rejections of those that could not be.
        most_rejected: largest share of bad frames at which a source is usable without them.
    """
    frames = [item for item in items if isinstance(item, Frame)]
    findings = [_soundness(items, most_rejected)]
    if frames:
        checks: tuple[Callable[[list[Frame]], Finding], ...] = (
            _orientation, _focal, _principal_point, _time_order, _duplicates, _valid_depth, _range, _labels,
        )  # fmt: skip
        findings += [check(frames) for check in checks]
    return findings


def _soundness(items: Sequence[Frame | Rejection], most_rejected: float) -> Finding:
    faults = [fault for item in items if (fault := item if isinstance(item, Rejection) else check_frame(item))]
    share = len(faults) / max(len(items), 1)
    figure = f"{len(items) - len(faults)} of {len(items)} frames decode and are sound"
    if not items:
        return Finding("frames", Verdict.FAIL, "no frame could be read", "ingest the source again", 0.0)
    if not faults:
        return Finding("frames", Verdict.OK, figure, "", share)
    first = faults[0]
    figure += f"; the first that is not: {first.scene}/{first.frame}: {first.reason}"
    verdict = Verdict.FAIL if share > most_rejected else Verdict.WARN
    return Finding("frames", verdict, figure, "mend or leave out these frames, then ingest again", share)


def _orientation(frames: list[Frame]) -> Finding:
    turned = [(frame, turn) for frame in frames if (turn := _turn(frame)) is not None]
    if not turned:
        return Finding("EXIF orientation", Verdict.OK, "every image is upright", "", 0.0)
    frame, turn = turned[0]
    figure = f"{len(turned)} of {len(frames)} images are turned by EXIF, the first: {_name(frame)}"
    return Finding("EXIF orientation", Verdict.FAIL, figure, turn.cure, len(turned) / len(frames))


def _turn(frame: Frame) -> TurnedImageError | None:
    try:
        decode_size(frame.encoded_image)
    except TurnedImageError as error:
        return error
    except DataError:
        pass  # reported by the check of sound frames
    return None


def _focal(frames: list[Frame]) -> Finding:
    cameras = {frame.camera for frame in frames if _finite(frame.camera)}
    if not cameras:
        return Finding("focal length", Verdict.FAIL, "no camera with a positive focal length", "mend the intrinsics")
    angles_deg = sorted(field_of_view_deg(camera) for camera in cameras)
    aspects = [camera.fx_px / camera.fy_px for camera in cameras]
    low, high = angles_deg[0], angles_deg[-1]
    figure = f"horizontal field of view {low:.1f}° to {high:.1f}° ({len(cameras)} cameras)"
    if low < FIELD_OF_VIEW_DEG[0] or high > FIELD_OF_VIEW_DEG[1]:
        advice = "is K that of this image size, and in pixels? expected 10° to 150°"
        return Finding("focal length", Verdict.FAIL, figure, advice, low if low < FIELD_OF_VIEW_DEG[0] else high)
    worst = max(max(aspect, 1 / aspect) for aspect in aspects)
    if worst > MOST_ASPECT:
        figure += f"; fx and fy differ by a factor {worst:.2f}"
        advice = "was the image squeezed, or are fx and fy of another size?"
        return Finding("focal length", Verdict.WARN, figure, advice, worst)
    return Finding("focal length", Verdict.OK, figure, "", float(np.median(angles_deg)))


def field_of_view_deg(camera: Camera) -> float:
    """Horizontal angle that an image covers; a side that its lens model does not reach counts as 90°."""
    edges = np.array([[-0.5, camera.cy_px], [camera.width_px - 0.5, camera.cy_px]])
    with np.errstate(all="ignore"):
        tangents = np.abs(camera.unproject(edges)[:, 0])
    return float(np.degrees(np.where(np.isfinite(tangents), np.arctan(tangents), np.pi / 2)).sum())


def _principal_point(frames: list[Frame]) -> Finding:
    offsets = [
        max(
            abs(camera.cx_px - (camera.width_px - 1) / 2) / camera.width_px,
            abs(camera.cy_px - (camera.height_px - 1) / 2) / camera.height_px,
        )
        for camera in {frame.camera for frame in frames if _finite(frame.camera)}
    ]
    worst = max(offsets, default=math.nan)
    figure = f"at most {worst:.1%} of the image's size from its centre"
    if worst <= MOST_OFF_CENTRE:
        return Finding("principal point", Verdict.OK, figure, "", worst)
    advice = "were images cropped, turned or resized without their K? Right if they are crops"
    return Finding("principal point", Verdict.WARN, figure, advice, worst)


def _time_order(frames: list[Frame]) -> Finding:
    timed = [frame for frame in frames if frame.time_s is not None]
    if not timed:
        return Finding("time order", Verdict.CANNOT_TELL, "no frame has a time")
    if len(timed) < len(frames):
        figure = f"{len(frames) - len(timed)} of {len(frames)} frames have no time"
        return Finding("time order", Verdict.WARN, figure, "give every frame its time, or none")
    tracks: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for frame in timed:
        tracks[frame.scene, frame.camera_id][frame.frame] = float(frame.time_s or 0.0)
    steps = [
        b - a for track in tracks.values() for a, b in pairwise(track[name] for name in sorted(track, key=_natural))
    ]
    if not steps:
        return Finding("time order", Verdict.CANNOT_TELL, "one frame a camera and scene")
    back = sum(not step > 0 for step in steps) / len(steps)
    figure = f"time grows from frame to frame in {1 - back:.0%} of {len(steps)} steps"
    if back == 0:
        return Finding("time order", Verdict.OK, figure, "", 0.0)
    advice = "times and names of frames are in different orders: do times belong to these frames, in seconds?"
    return Finding("time order", Verdict.WARN, figure, advice, back)


def _duplicates(frames: list[Frame]) -> Finding:
    named: dict[bytes, set[tuple[str, str]]] = defaultdict(set)
    for frame in frames:
        named[blake2b(frame.encoded_image, digest_size=16).digest()].add((frame.scene, frame.frame))
    different = len({(frame.scene, frame.frame) for frame in frames})
    copies = different - len(named)
    if copies <= 0:
        return Finding("duplicates", Verdict.OK, f"no image twice among {different} frames", "", 0.0)
    first, second = next(sorted(names) for names in named.values() if len(names) > 1)[:2]
    share = copies / different
    figure = f"{copies} of {different} frames repeat another's image, e.g. {'/'.join(first)} and {'/'.join(second)}"
    verdict = Verdict.FAIL if share > 0.1 else Verdict.WARN
    return Finding(
        "duplicates", verdict, figure, "leave copies out: they weigh twice, and their poses may differ", share
    )


def _valid_depth(frames: list[Frame]) -> Finding:
    shares = [float(np.isfinite(f.small_depth.z_depth_m).mean()) for f in frames if f.small_depth is not None]
    if not shares:
        labels = f"{np.median([len(frame.points) for frame in frames]):.0f} labels a frame"
        return Finding("valid depth", Verdict.CANNOT_TELL, f"no depth map; {labels} (median)")
    share = float(np.median(shares))
    figure = f"{share:.0%} of a depth map is valid (median; least {min(shares):.0%})"
    verdict = graded(share, ok=FEW_DEPTH, fail=1e-9)
    advice = (
        "" if verdict is Verdict.OK else "hardly any depth: is the invalid value right, are depth files of this scene?"
    )
    return Finding("valid depth", verdict, figure, advice, share)


def _range(frames: list[Frame]) -> Finding:
    depths = [frame.points[:, 2] for frame in frames if frame.points.ndim == 2 and frame.points.shape[1] == 3]
    depth_m = np.concatenate(depths) if depths else np.empty(0)
    depth_m = depth_m[np.isfinite(depth_m)]
    if not len(depth_m):
        return Finding("range of depth", Verdict.CANNOT_TELL, "no labelled depth")
    low, median, high = (float(value) for value in np.percentile(depth_m, (1, 50, 99)))
    figure = f"{low:.3g} / {median:.3g} / {high:.3g} m (1 % / median / 99 %)"
    if low == high:
        return Finding("range of depth", Verdict.FAIL, figure, "every depth is the same: is this depth?", median)
    metric = all(frame.scale is Scale.METRIC for frame in frames)
    if metric and not USUAL_DEPTH_M[0] <= median <= USUAL_DEPTH_M[1]:
        advice = "are these metres? See depth scale, or `depth_scale` in frames.json"
        return Finding("range of depth", Verdict.WARN, figure, advice, median)
    return Finding("range of depth", Verdict.OK, figure, "", median)


def _labels(frames: list[Frame]) -> Finding:
    """Compare labels with the small depth map of their frame, read as their own kind and as the other kind."""
    mapped = [
        frame for frame in frames if frame.small_depth is not None and len(frame.points) and _finite(frame.camera)
    ]
    if not mapped:
        return Finding("labels", Verdict.CANNOT_TELL, "no labels beside a depth map")
    as_said = _within(np.concatenate([_error(frame, frame.depth_kind) for frame in mapped]))
    turned = {DepthKind.Z: DepthKind.RAY, DepthKind.RAY: DepthKind.Z}
    otherwise = _within(np.concatenate([_error(frame, turned[frame.depth_kind]) for frame in mapped]))
    figure = f"{as_said:.1%} of labels within 2 % of their own depth map"
    if otherwise > 1.15 * as_said:
        figure += f", {otherwise:.1%} if they are {turned[mapped[0].depth_kind]} depth"
        return Finding("labels", Verdict.FAIL, figure, "correct the depth kind of the labels", as_said)
    verdict = graded(as_said, ok=0.8, fail=0.5)
    advice = "" if verdict is Verdict.OK else "labels and depth map were not made from the same depth: ingest again"
    return Finding("labels", verdict, figure, advice, as_said)


def _error(frame: Frame, kind: DepthKind) -> NDArray[np.float64]:
    """(n,) relative errors of labels, read as `kind`, against the nearest sample of the map; invalid ones left out."""
    assert frame.small_depth is not None
    pixels, depth_m = frame.points[:, :2], frame.points[:, 2]
    camera = depth_camera(frame.small_depth, frame.camera)
    z_m = convert_depth(depth_m, pixels, frame.camera, kind, DepthKind.Z)
    scale = np.array([camera.width_px / frame.camera.width_px, camera.height_px / frame.camera.height_px])
    at = np.rint(scaled_px(pixels.astype(np.float64), scale))
    column, row = np.clip(np.nan_to_num(at), 0, (camera.width_px - 1, camera.height_px - 1)).astype(np.intp).T
    error: NDArray[np.float64] = z_m / frame.small_depth.z_depth_m[row, column] - 1
    return error[np.isfinite(error)]


def _within(error: NDArray[np.float64]) -> float:
    return float((np.abs(error) < 0.02).mean()) if len(error) else 0.0


def _finite(camera: Camera) -> bool:
    numbers = (camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px, *camera.coefficients)
    return all(map(math.isfinite, numbers)) and min(camera.fx_px, camera.fy_px) > 0


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Sort key with which frame10 comes after frame9."""
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", name)]


def _name(frame: Frame) -> str:
    return f"{frame.scene}/{frame.frame}"
