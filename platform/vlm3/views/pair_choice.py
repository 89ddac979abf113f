"""Which pair of a clip a slot shows: drawn evenly over kinds of pairs, by arithmetic alone."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlm3.errors import DataError
from vlm3.seeds import generator
from vlm3.views.pairs import FramePair

PARTS = 3
"""Equal parts of the clip's range of each of overlap, baseline and rotation."""
NO_RANGE = 1e-3
"""Of overlap, metres or degrees: what is closer together is alike."""


class ChosenPair(NamedTuple):
    """Frames of a clip, in the order in which they are shown."""

    view1: int
    view2: int
    overlap: float
    """Symmetric covisibility."""


def choose_pair(pairs: Sequence[FramePair], slot: int, visit_seed: int) -> ChosenPair:
    """The frames that slot `slot` of a visit to a clip shows.

    Successive slots go round the buckets in an order shuffled by the seed; in each bucket they go round its pairs,
    likewise shuffled. So any run of slots draws the buckets evenly to one, and a pair comes again only when all of its
    bucket were used, then with its views swapped.

    Args:
        pairs: of the clip, as `clip_pairs` gives them or filtered.
        slot: number in the visit, ≥ 0.
        visit_seed: the same for all slots of a visit, another for other visits and clips.

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
    """The pairs by their part of the range that overlap, baseline and rotation have among them; none is empty.

    Ranges are those of the clip, so that one of small baselines is spread over its own small and large ones.
    """
    values = np.array([(pair.overlap, pair.baseline_m, pair.rotation_deg) for pair in pairs])
    grouped: dict[tuple[int, int, int], list[FramePair]] = {}
    for pair, (overlap, baseline, rotation) in zip(pairs, _parts(values).tolist(), strict=True):
        grouped.setdefault((overlap, baseline, rotation), []).append(pair)
    return {name: tuple(members) for name, members in grouped.items()}


def _parts(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """(n, k) → (n, k) part in [0, PARTS) of each column's range; all 0 where a column has no range."""
    # The last bits differ from processor to processor, and must not decide.
    values = values.round(4)
    low, high = values.min(axis=0), values.max(axis=0)
    share = (values - low) / np.where(high - low > NO_RANGE, high - low, np.inf)
    parts: NDArray[np.intp] = np.minimum((share * PARTS + 1e-6).astype(np.intp), PARTS - 1)
    return parts
