"""Whether the posed views of a source agree, and if not, how the poses or the depth must be read instead."""

from collections.abc import Sequence

from vlm3.doctor.convention_search import KIND_BETTER, LEAST_LANDED, Fit, Search, search
from vlm3.doctor.finding import Finding, Verdict, graded
from vlm3.doctor.pose_conventions import POSE_CONVENTIONS
from vlm3.doctor.reprojection import Agreement, StoredDepth, ViewPair, pairs_of
from vlm3.doctor.samples import spread
from vlm3.scenes.schema import Frame

CHECKS = ("reprojection", "pose convention", "depth scale", "depth kind")
OK_5PCT, FAIL_5PCT = 0.85, 0.7
OK_2PCT = 0.5
MOST_PAIRS = 120
TOLD_APART = 1.25
"""Least ratio of scores at which two pose conventions count as different."""
SHARP = 1.15
"""Contrast below which the cameras moved too little to show the scale of depth."""
OK_FACTOR, FAIL_FACTOR = 1.04, 1.1
LIKELY = 1.06
"""A measured factor is taken for a common one if their ratio is below this."""
COMMON_FACTORS = {
    0.001: "millimetres read as metres",
    0.01: "centimetres read as metres",
    0.1: "tenths of millimetres read as millimetres",
    0.2: "1/5000 m read as millimetres",
    0.256: "millimetres read as 1/256 m",
    1000 / 256: "1/256 m read as millimetres",
    0.3048: "feet read as metres",
    0.0254: "inches read as metres",
    5.0: "millimetres read as 1/5000 m",
    10.0: "millimetres read as tenths of millimetres",
    1000.0: "metres read as millimetres, or poses in millimetres",
}
MENDED_DEPTH = {
    StoredDepth.RAY: "depth is measured along the ray, but read as z-depth: divide it by √(1 + x² + y²) of its ray",
    StoredDepth.SHORTENED: "z-depth was divided by the length of the ray as if it were ray depth: leave that out",
}


def diagnose_views(groups: Sequence[Sequence[Frame]]) -> list[Finding]:
    """Findings on reprojection, pose convention, depth scale and depth kind.

    Args:
        groups: frames that may see the same things. Pairs are made within one group and one scene.
    """
    pairs = [pair for group in groups for pair in pairs_of(group)]
    pairs = [pairs[i] for i in spread(len(pairs), MOST_PAIRS)]
    if not pairs:
        posed = any(frame.world_T_cam is not None for group in groups for frame in group)
        why = "no two posed frames of a scene with depth at hand" if posed else "no poses"
        return [Finding(check, Verdict.CANNOT_TELL, why) for check in CHECKS]
    tried = search(pairs)
    if max(fit.agreement.landed for fit in (*tried.poses, *tried.kinds)) < LEAST_LANDED:
        why = f"{len(pairs)} pairs of frames hardly see the same surface"
        return [Finding(check, Verdict.CANNOT_TELL, why, "give more --samples") for check in CHECKS]
    return [_reprojection(tried.given.agreement, pairs), _convention(tried), _scale(tried), _kind(tried)]


def _reprojection(given: Agreement, pairs: Sequence[ViewPair]) -> Finding:
    if given.landed < LEAST_LANDED:
        figure = f"{given.landed} of {given.points} points land in another view ({len(pairs)} pairs)"
        return Finding(CHECKS[0], Verdict.CANNOT_TELL, figure, "see the next rows; if they cannot tell: more --samples")
    verdict = graded(given.share_5pct, ok=OK_5PCT, fail=FAIL_5PCT)
    if verdict is Verdict.OK and given.share_2pct < OK_2PCT:
        verdict = Verdict.WARN
    in_front = given.in_front / max(given.landed, 1)
    figure = (
        f"{given.share_5pct:.1%} of {given.landed} points within 5 % of the other view's surface,"
        f" {given.share_2pct:.1%} within 2 %, {in_front:.1%} in front of it ({len(pairs)} pairs)"
    )
    advice = "poses, intrinsics and depth do not fit together: see the next rows"
    return Finding(CHECKS[0], verdict, figure, "" if verdict is Verdict.OK else advice, given.share_5pct)


def _convention(tried: Search) -> Finding:
    given, best = tried.poses[0], tried.pose
    if best is not given:
        figure = f"poses look like {best.convention.pose.name}: {_shares(best)}, as given {_shares(tried.given)}"
        return Finding(CHECKS[1], Verdict.FAIL, figure, best.convention.pose.mend, _times(best, given))
    if not given.plausible and not tried.kind.plausible:
        count = len(POSE_CONVENTIONS)
        figure = f"none of {count} pose conventions makes the views agree; the best: {_best(tried.poses)}"
        advice = "check that poses belong to these frames, and K to this image size; are things moving?"
        return Finding(CHECKS[1], Verdict.CANNOT_TELL, figure, advice)
    rival = max(tried.poses[1:], key=lambda fit: fit.score)
    times = _times(given, rival)
    figure = f"as given fits {times:.3g} times as well as the next best of {len(POSE_CONVENTIONS)} conventions"
    if times >= TOLD_APART:
        return Finding(CHECKS[1], Verdict.OK, figure, "", times)
    figure = (
        f"cameras move too little to tell: {rival.convention.pose.name} fits as well ({1 / max(times, 1e-9):.2f} times)"
    )
    advice = "check on frames that are farther apart, and that turn about other axes"
    return Finding(CHECKS[1], Verdict.CANNOT_TELL, figure, advice, times)


def _scale(tried: Search) -> Finding:
    best = tried.kind
    factor = best.convention.depth_factor
    if not best.plausible:
        return Finding(CHECKS[2], Verdict.CANNOT_TELL, "views agree at no factor of depth", "settle the poses first")
    if tried.contrast < SHARP:
        figure = f"cameras moved too little for their distance to the scene: contrast {tried.contrast:.2f}"
        return Finding(CHECKS[2], Verdict.CANNOT_TELL, figure, "check on frames that are farther apart")
    off = max(factor, 1 / factor)
    verdict = Verdict.OK if off <= OK_FACTOR else Verdict.WARN if off <= FAIL_FACTOR else Verdict.FAIL
    figure = f"poses want depth × {factor:.4g}"
    common = next((each for each in COMMON_FACTORS if max(factor / each, each / factor) < LIKELY), None)
    if common is not None:
        figure = f"{figure}: {COMMON_FACTORS[common]}?"
    wanted = common or factor
    advice = (
        f"multiply depth by {wanted:.3g} (in frames.json: depth_scale by {1 / wanted:.3g}),"
        " or divide the translations of the poses by it"
    )
    return Finding(CHECKS[2], verdict, figure, "" if verdict is Verdict.OK else advice, factor)


def _kind(tried: Search) -> Finding:
    best, as_read = tried.kind, tried.kinds[0]
    if best is not as_read:
        figure = f"looks like {best.convention.depth.value}: {_shares(best)}, as given {_shares(as_read)}"
        return Finding(CHECKS[3], Verdict.FAIL, figure, MENDED_DEPTH[best.convention.depth], _times(best, as_read))
    if not best.plausible:
        return Finding(CHECKS[3], Verdict.CANNOT_TELL, "views agree under no kind of depth", "settle the poses first")
    times = min(_times(as_read, other) for other in tried.kinds[1:])
    if times < KIND_BETTER:
        figure = f"views are too narrow or too alike: z-depth fits {times:.2f} times as well as another kind"
        return Finding(CHECKS[3], Verdict.CANNOT_TELL, figure, "read the dataset's page: z-depth or ray depth?", times)
    return Finding(CHECKS[3], Verdict.OK, f"z-depth fits {times:.3g} times as well as the next best kind", "", times)


def _times(one: Fit, other: Fit) -> float:
    return one.score / other.score if other.score else float("inf")


def _shares(fit: Fit) -> str:
    return f"{fit.agreement.share_5pct:.0%} within 5 %"


def _best(fits: Sequence[Fit]) -> str:
    best = max(fits, key=lambda fit: fit.score)
    return f"{best.convention.pose.name} with {_shares(best)}"
