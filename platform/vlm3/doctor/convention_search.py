"""Search for the pose and depth conventions under which the views of a scene agree."""

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
"""Least ratio of points within 2 % for another convention to be better: chance gives less in thousands of points."""
KIND_BETTER = 1.15
"""The same ratio for the kind of depth, which matters mainly near the border of an image."""
PLAUSIBLE_SHARE = 0.7
"""Least share of landed points within 5 % under a convention that explains the views."""
LEAST_LANDED = 300
"""Least number of landed points from which a share means anything."""
FACTORS = tuple((1.25 ** np.arange(-36, 37)).tolist())
"""Depth factors from 1/3000 to 3000. The peak of agreement within 2 % is about a fifth wide on each side."""
FINE = 1.02 ** np.arange(-12.0, 13.0)
SCANNED_PAIRS, SCANNED_POINTS = 40, 100
"""Enough to find the peak."""
REFINED_PAIRS, REFINED_POINTS = 80, 200
"""Enough to find the middle of the peak to about 1 %."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A convention, and how well the views agree under it."""

    convention: Convention
    agreement: Agreement

    @property
    def score(self) -> float:
        """The quantity that is highest under the right convention."""
        return self.agreement.found_2pct

    @property
    def plausible(self) -> bool:
        """Whether the views agree, and not only disagree less than under other conventions."""
        return self.agreement.landed >= LEAST_LANDED and self.agreement.share_5pct >= PLAUSIBLE_SHARE


@dataclass(frozen=True, slots=True)
class Search:
    """The fits of all conventions that were tried."""

    given: Fit
    """Fit with poses and depth as stored."""
    poses: tuple[Fit, ...]
    """One fit for each of `POSE_CONVENTIONS`, in their order: with depth as stored if any is plausible then, else each
    with its best factor and kind of depth."""
    kinds: tuple[Fit, ...]
    """One fit per kind of depth, in the order of `StoredDepth`: under the best pose convention, at its best factor."""
    contrast: float
    """Score of the best fit over the higher of the scores at half and twice its factor: 1 means any factor would do."""

    @property
    def pose(self) -> Fit:
        """Fit of the best pose convention: the stored one, unless another is clearly better."""
        return _preferred(self.poses, POSE_BETTER)

    @property
    def kind(self) -> Fit:
        """Fit of the best kind of depth under that pose convention: as read, unless another is clearly better."""
        return _preferred(self.kinds, KIND_BETTER)


def search(pairs: Sequence[ViewPair]) -> Search:
    """Try pose conventions, depth factors and kinds of depth.

    If the views agree under no pose convention with depth as stored, conventions, factors and kinds are tried together,
    because one mistake can hide another.

    Args:
        pairs: at least one pair of views.
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
    """The first fit, unless the best one is plausible and more than `times` as good."""
    best = max(fits, key=lambda fit: fit.score)
    return best if best.plausible and best.score > times * fits[0].score else fits[0]


def _fit(pairs: Sequence[ViewPair], convention: Convention) -> Fit:
    return Fit(convention, agreement(pairs, convention))


def _peak(pairs: Sequence[ViewPair], convention: Convention) -> Convention:
    """The convention with the one of `FACTORS` at which the views agree best."""
    scores = [result.found_2pct for result in agreements(pairs, convention, FACTORS)]
    return replace(convention, depth_factor=FACTORS[int(np.argmax(scores))])


def _refined(pairs: Sequence[ViewPair], convention: Convention) -> Convention:
    """The convention with its depth factor moved to the middle of the peak around it."""
    factors = convention.depth_factor * FINE
    scores = np.array([result.found_2pct for result in agreements(pairs, convention, factors.tolist())])
    weights = np.clip(scores - 0.9 * scores.max(), 0, None)
    if not weights.any():
        return convention
    return replace(convention, depth_factor=float(np.exp(np.average(np.log(factors), weights=weights))))
