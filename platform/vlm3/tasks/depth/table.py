"""Answers about depth at points: columns, figures, baselines."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vlm3.asking.tables import AnswerTable, Figure, Headline, Intervals, PerAnswer, Texts, Vectors2, repeated
from vlm3.metrics.medians import grouped_medians, medians_of_others
from vlm3.tasks.depth.interval_metrics import interval_figures
from vlm3.tasks.depth.metrics import align_scale, best_constant, depth_scores, within

ROW_BINS = 10
"""Number of bands of the image's height for the baseline "depth of the row"."""


@dataclass(frozen=True, slots=True, eq=False)
class DepthTable(AnswerTable):
    """Depth at points."""

    task = "depth"
    headlines = (
        Headline("delta1", "δ1"),
        Headline("abs_rel", "AbsRel"),
        Headline("z_rmse_m", "RMSE z, m"),
        Headline("ray_rmse_m", "RMSE ray, m"),
        Headline("silog", "SILog", ".1f"),
        Headline("aligned_delta1", "δ1 aligned"),
        Headline("unreadable_share", "unreadable"),
        Headline("count", "answers", ".0f"),
    )
    text: Texts
    """(N,) the model's own words."""
    status: Texts
    """(N,) `ok`, or why there is no value."""
    point_px: Vectors2
    """(N, 2) in the original image."""
    size_px: Vectors2
    """(N, 2) width and height of the original image."""
    label_kind: Texts
    """(N,) `z` or `ray`: kind of the published label; the other one is converted from it."""
    true_m: Vectors2
    """(N, 2) z and ray."""
    predicted_m: Vectors2
    """(N, 2) z and ray, NaN without a value."""
    predicted_interval_m: Intervals
    """(N, 3, 2) ends of the intervals at three levels, in the kind of the label; NaN where the model gives none."""

    @property
    def statuses(self) -> Texts:
        """(N,) status of each answer."""
        return self.status

    def own_kind(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(N,) true and answered metres in the kind of the published labels."""
        rows, own = np.arange(len(self)), (self.label_kind == "ray").astype(int)
        return self.true_m[rows, own], self.predicted_m[rows, own]

    def figures(self, seed: int) -> Iterator[Figure]:
        """δ, AbsRel and SILog in the kind of the labels; RMSE in both kinds."""
        true, answered = self.own_kind()
        groups = self.group.astype(str)
        found = depth_scores(answered, true, groups, seed)
        yield "count", float(found.count)
        yield "delta1", found.delta1, found.delta1_interval
        yield "delta2", found.delta2
        yield "delta3", found.delta3
        yield "abs_rel", found.abs_rel, found.abs_rel_interval
        yield "silog", found.silog
        yield "unreadable_share", found.unreadable_share
        # δ and AbsRel are ratios, the same for z and ray; metres are not.
        for column, kind in enumerate(("z", "ray")):
            of_kind = depth_scores(self.predicted_m[:, column], self.true_m[:, column], groups, seed)
            yield f"{kind}_rmse_m", of_kind.rmse_m
        aligned = depth_scores(align_scale(answered, true, self.item.astype(str)), true, groups, seed)
        yield "aligned_delta1", aligned.delta1, aligned.delta1_interval
        yield "aligned_abs_rel", aligned.abs_rel, aligned.abs_rel_interval
        yield from interval_figures(answered, true, self.predicted_interval_m, groups, seed)

    def baselines(self) -> dict[str, Self]:
        """The best constant, and the depth of the row."""
        return {"best constant": self._best_constant(), "depth of the row": self._depth_of_the_row()}

    def per_answer(self) -> dict[str, PerAnswer]:
        """Whether each answer is right by δ1."""
        true, answered = self.own_kind()
        return {"delta1": PerAnswer(within(answered, true).astype(np.float64), self.group, greater_is_better=True)}

    def _best_constant(self) -> Self:
        """The one depth that is right most often on these very labels, z and ray separately: the hardest to beat."""
        best = [best_constant(self.true_m[:, kind]) for kind in range(2)]
        return self._predicting(np.tile(best, (len(self), 1)))

    def _depth_of_the_row(self) -> Self:
        """Median depth of all other groups at this height of the image, or at any height where they have none there.

        The row's own group is left out, so that no label of the image that is asked about is used.
        """
        bands = np.clip((self.point_px[:, 1] + 0.5) / self.size_px[:, 1] * ROW_BINS, 0, ROW_BINS - 1).astype(int)
        names, groups = np.unique(self.group.astype(str), return_inverse=True)
        # A single group has no others, so its own labels are used.
        median = medians_of_others if len(names) > 1 else grouped_medians
        predicted = np.empty_like(self.true_m)
        for kind, true_m in enumerate(self.true_m.T):
            anywhere = median(true_m, groups, len(names))
            for band in np.unique(bands):
                here = bands == band
                there = median(true_m[here], groups[here], len(names))
                predicted[here, kind] = np.where(np.isnan(there), anywhere, there)[groups[here]]
        return self._predicting(predicted)

    def _predicting(self, predicted_m: NDArray[np.float64]) -> Self:
        count = len(self)
        return replace(
            self,
            predicted_m=predicted_m,
            predicted_interval_m=np.full_like(self.predicted_interval_m, np.nan),
            text=repeated("", count),
            status=repeated("ok", count),
        )
