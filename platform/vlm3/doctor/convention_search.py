"""Search for the convention of poses and depth under which the views of a scene agree."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vlm3.doctor.pose_conventions import POSE_CONVENTIONS
from vlm3.doctor.reprojection import (
    AS_GIVEN,
    Agreement,
    Convention,
    StoredDepth,
    ViewPair,
    agreement,
    agreements,
    thinned,
)

POSE_BETTER = 1.5
"""Times as many points that agree within 2 %: more than chance does in thousands of points."""
KIND_BETTER = 1.15
"""Likewise for the kind of depth, which moves little but the border of an image."""
PLAUSIBLE_SHARE = 0.7
"""Of landed points within 5 %: a convention that explains less explains nothing."""
LEAST_LANDED = 300
"""Points that must land for a share to mean anything."""
FACTORS = tuple((1.25 ** np.arange(-36, 37)).tolist())
"""1/3000 to 3000. The peak of agreement within 2 % is about a fifth wide on each side."""
FINE = 1.02 ** np.arange(-12.0, 13.0)
SCANNED_PAIRS, SCANNED_POINTS = 40, 100
"""Enough to see where the peak is."""
REFINED_PAIRS, REFINED_POINTS = 80, 200
"""Enough to find its middle to about 1 %."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A convention, and how well views agree under it."""

    convention: Convention
    agreement: Agreement

    @property
    def score(self) -> float:
        """What the right convention maximises."""
        return self.agreement.found_2pct

    @property
    def plausible(self) -> bool:
        """Whether views agree, rather than merely disagree less than otherwise."""
        return self.agreement.landed >= LEAST_LANDED and self.agreement.share_5pct >= PLAUSIBLE_SHARE


@dataclass(frozen=True, slots=True)
class Search:
    """What was tried, side by side."""

    given: Fit
    """Everything as stored."""
    poses: tuple[Fit, ...]
    """One fit for each of `POSE_CONVENTIONS`, in their order: at factor 1 if any agrees there, else at its best."""
    kinds: tuple[Fit, ...]
    """One fit per kind of depth in the order of `StoredDepth`, under the best pose, at its best factor."""
    contrast: float
    """Score of the best fit over the score at twice or half its factor: 1 means that any factor would do."""

    @property
    def pose(self) -> Fit:
        """The best pose convention: as given, unless another is clearly better."""
        return _preferred(self.poses, POSE_BETTER)

    @property
    def kind(self) -> Fit:
        """The best kind of depth under that: as given, unless another is clearly better."""
        return _preferred(self.kinds, KIND_BETTER)


def search(pairs: Sequence[ViewPair]) -> Search:
    """Try conventions of poses, factors of depth, and kinds of depth.

    Where the views agree under no pose convention as the depth stands, all are tried together: one mistake hides
    another.

    Args:
        pairs: at least one.
    """
    few, some = thinned(pairs, SCANNED_PAIRS, SCANNED_POINTS), thinned(pairs, REFINED_PAIRS, REFINED_POINTS)
    poses = tuple(_fit(pairs, Convention(pose)) for pose in POSE_CONVENTIONS)
    if not any(fit.plausible for fit in poses):
        poses = tuple(
            max(
                (_fit(pairs, _peak(few, Convention(pose, 1.0, kind))) for kind in StoredDepth),
                key=lambda fit: fit.score,
            )
            for pose in POSE_CONVENTIONS
        )
    pose = _preferred(poses, POSE_BETTER).convention.pose
    kinds = tuple(_fit(pairs, _refined(some, _peak(few, Convention(pose, 1.0, kind)))) for kind in StoredDepth)
    best = _preferred(kinds, KIND_BETTER)
    beside = agreements(pairs, best.convention, [best.convention.depth_factor * step for step in (0.5, 2.0)])
    highest = max(other.found_2pct for other in beside)
    return Search(_fit(pairs, AS_GIVEN), poses, kinds, best.score / highest if highest else float("inf"))


def _preferred(fits: Sequence[Fit], times: float) -> Fit:
    """The first, unless the best one makes views agree and is clearly better."""
    best = max(fits, key=lambda fit: fit.score)
    return best if best.plausible and best.score > times * fits[0].score else fits[0]


def _fit(pairs: Sequence[ViewPair], convention: Convention) -> Fit:
    return Fit(convention, agreement(pairs, convention))


def _peak(pairs: Sequence[ViewPair], convention: Convention) -> Convention:
    """The convention at the factor of depth at which views agree best."""
    scores = [result.found_2pct for result in agreements(pairs, convention, FACTORS)]
    return replace(convention, depth_factor=FACTORS[int(np.argmax(scores))])


def _refined(pairs: Sequence[ViewPair], convention: Convention) -> Convention:
    """The convention at the middle of its peak."""
    factors = convention.depth_factor * FINE
    scores = np.array([result.found_2pct for result in agreements(pairs, convention, factors.tolist())])
    weights = np.clip(scores - 0.9 * scores.max(), 0, None)
    if not weights.any():
        return convention
    return replace(convention, depth_factor=float(np.exp(np.average(np.log(factors), weights=weights))))
