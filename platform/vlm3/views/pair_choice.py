"""The pair of frames that a slot of a clip shows: drawn evenly over kinds of pairs, from a seed alone."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlm3.errors import DataError
from vlm3.seeds import generator
from vlm3.views.pairs import FramePair

PARTS = 3
"""Number of equal parts into which the clip's ranges of overlap, baseline and rotation are each divided."""
NO_RANGE = 1e-3
"""Range of overlap, metres or degrees up to which all values count as equal."""


class ChosenPair(NamedTuple):
    """Indices of two frames of a clip, in the order in which they are shown."""

    view1: int
    view2: int
    overlap: float
    """Symmetric covisibility in [0, 1]."""


def choose_pair(pairs: Sequence[FramePair], slot: int, visit_seed: int) -> ChosenPair:
    """Choose the frames that slot `slot` of a visit to a clip shows.

    Successive slots cycle through the buckets in an order shuffled by the seed, and within each bucket through its
    pairs, also shuffled. So the counts of buckets in any run of slots differ by at most one, and a pair is repeated
    only after all pairs of its bucket, then with its views swapped.

    Args:
        pairs: pairs of the clip from `clip_pairs`, or some of them.
        slot: number of the slot in the visit, ≥ 0.
        visit_seed: seed that all slots of a visit share; it differs between visits and clips.

    Raises:
        DataError: the clip has no pair.
    """
    if slot < 0:
        raise ValueError(f"expected slot ≥ 0, found {slot}")
    if not pairs:
        raise DataError("no two frames of the clip make a pair: posed, with depth, and seeing enough of the same")
    grouped = buckets(pairs)
    rng = generator(visit_seed, "buckets")
    names = sorted(grouped)
    name = names[int(rng.permutation(len(names))[slot % len(names)])]
    members = grouped[name]
    turn = slot // len(names)
    rng = generator(visit_seed, "pairs", *name)
    pair = members[int(rng.permutation(len(members))[turn % len(members)])]
    swapped = (int(rng.integers(2, size=len(members))[turn % len(members)]) + turn // len(members)) % 2
    view1, view2 = (pair.second, pair.first) if swapped else (pair.first, pair.second)
    return ChosenPair(view1, view2, pair.overlap)


def buckets(pairs: Sequence[FramePair]) -> dict[tuple[int, int, int], tuple[FramePair, ...]]:
    """Group pairs into buckets by the parts of the ranges in which their overlap, baseline and rotation lie.

    Ranges are those of the given pairs, so a clip with only small baselines also has several parts of baseline. No
    bucket is empty.
    """
    values = np.array([(pair.overlap, pair.baseline_m, pair.rotation_deg) for pair in pairs])
    grouped: dict[tuple[int, int, int], list[FramePair]] = {}
    for pair, (overlap, baseline, rotation) in zip(pairs, _parts(values).tolist(), strict=True):
        grouped.setdefault((overlap, baseline, rotation), []).append(pair)
    return {name: tuple(members) for name, members in grouped.items()}


def _parts(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """(n, k) part in [0, PARTS) of its column's range for each value (n, k); 0 in a column whose range is too small."""
    # The last bits differ between processors and must not affect the choice.
    values = values.round(4)
    low, high = values.min(axis=0), values.max(axis=0)
    share = (values - low) / np.where(high - low > NO_RANGE, high - low, np.inf)
    parts: NDArray[np.intp] = np.minimum((share * PARTS + 1e-6).astype(np.intp), PARTS - 1)
    return parts
