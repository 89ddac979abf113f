"""Whether the frames of a source can be unified to one focal length."""

from collections.abc import Sequence

from vlm3.doctor.finding import Finding, Verdict
from vlm3.doctor.samples import spread
from vlm3.errors import DataError
from vlm3.scenes.checks import check_frame
from vlm3.scenes.schema import Frame
from vlm3.views.unify import UnifyPolicy, unify

TOKEN_PX = 32
MIN_PIXELS, MAX_PIXELS = 256 * 256, 1280 * 960
CHECKED = 32
"""Maximum number of frames that are unified, at about 10 ms each."""
FEW_LABELS = 0.5


def diagnose_unification(frames: Sequence[Frame], focal_px: float) -> Finding:
    """Unify some sound frames as evaluation does, and count the labels that stay inside the unified images.

    Args:
        frames: frames of the source; those that are not sound are left out.
        focal_px: target focal length.
    """
    check = f"unification to {focal_px:g} px"
    sampled = [frames[i] for i in spread(len(frames), CHECKED)]
    sound = [frame for frame in sampled if check_frame(frame) is None]
    if not sound:
        return Finding(check, Verdict.CANNOT_TELL, "no sound frame at hand")
    policy = UnifyPolicy(focal_px, TOKEN_PX, MIN_PIXELS, MAX_PIXELS)
    labels = kept = 0
    sizes, faults = [], []
    for frame in sound:
        try:
            view = unify(frame.encoded_image, frame.camera, policy)
        except DataError as error:
            faults.append(f"{frame.scene}/{frame.frame}: {error}")
            continue
        sizes.append((view.camera.width_px, view.camera.height_px))
        labels += len(frame.points)
        kept += int((view.map_points(frame.points[:, :2])[:, 0] >= -0.5).sum())
    if faults:
        figure = f"{len(faults)} of {len(sound)} frames cannot be unified, the first: {faults[0]}"
        return Finding(check, Verdict.FAIL, figure, "correct the intrinsics, or train at another focal_px", len(faults))
    low, high = min(sizes), max(sizes)
    size = f"{low[0]}x{low[1]}" + ("" if low == high else f" to {high[0]}x{high[1]}") + " px"
    share = kept / labels if labels else 1.0
    figure = f"{len(sound)} frames become {size}, {share:.0%} of their labels inside"
    if share < FEW_LABELS:
        advice = "images are cropped to 1.2 Mpx at this focal: train at a shorter focal_px (--focal here)"
        return Finding(check, Verdict.WARN, figure, advice, share)
    return Finding(check, Verdict.OK, figure, "", share)
