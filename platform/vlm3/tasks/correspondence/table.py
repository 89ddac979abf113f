"""Answers about corresponding points: columns, figures, baselines."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from vlm3.asking.tables import LOST, AnswerTable, Figure, Headline, PerAnswer, Texts, Vectors2, repeated
from vlm3.geometry.pixels import scaled_px
from vlm3.tasks.correspondence.metrics import (
    PCK_THRESHOLDS,
    correspondence_scores,
    end_point_error,
    visibility_scores,
)


@dataclass(frozen=True, slots=True, eq=False)
class CorrespondenceTable(AnswerTable):
    """Places in image 2 of points of image 1."""

    task = "correspondence"
    headlines = (
        Headline("epe_mean_px", "EPE, px", ".1f"),
        Headline("epe_median_px", "median", ".1f"),
        Headline("pck_5_px", "PCK@5"),
        Headline("pck_10_px", "PCK@10"),
        Headline("pck_20_normalised", "PCK@20/1000"),
        Headline("unreadable_share", "unreadable"),
        Headline("count", "answers", ".0f"),
    )
    text: Texts
    status: Texts
    """(N,) `ok`, `not visible`, or why there is no value."""
    point1_px: Vectors2
    size1_px: Vectors2
    true2_px: Vectors2
    """(N, 2) in the original image 2; NaN where it does not see the point."""
    predicted2_px: Vectors2
    """(N, 2), NaN without a place."""
    size2_px: Vectors2

    @property
    def statuses(self) -> Texts:
        """(N,) status of each answer."""
        return self.status

    def figures(self, seed: int) -> Iterator[Figure]:
        """End-point errors and PCK of the points that image 2 sees; scores of "not visible", where some are hidden."""
        seen, groups = np.isfinite(self.true2_px[:, 0]), self.group.astype(str)
        unreadable = np.isin(self.status, LOST)
        yield "count", float(seen.sum())
        if seen.any():
            found = correspondence_scores(
                self.predicted2_px[seen],
                self.true2_px[seen],
                self.size2_px[seen],
                unreadable[seen],
                groups[seen],
                seed,
            )
            yield "epe_mean_px", found.epe_mean_px, found.epe_mean_interval
            yield "epe_median_px", found.epe_median_px
            for place, k in enumerate(PCK_THRESHOLDS):
                interval = (found.pck_px_at_10_interval,) if k == 10 else ()
                yield f"pck_{k}_px", found.pck_px[place], *interval
                yield f"pck_{k}_normalised", found.pck_normalised[place]
            yield "unreadable_share", found.unreadable_share
        if not seen.all():
            denied = self.status == "not visible"
            hidden = visibility_scores(denied, ~seen, unreadable, groups, seed)
            yield "hidden_found_share", hidden.hidden_found_share, hidden.hidden_found_interval
            yield "visible_denied_share", hidden.visible_denied_share, hidden.visible_denied_interval

    def baselines(self) -> dict[str, Self]:
        """The same place in image 2 as in image 1, in proportion to the sizes."""
        copied = scaled_px(self.point1_px, self.size2_px / self.size1_px)
        count = len(self)
        return {
            "copy the pixel": replace(
                self, predicted2_px=copied, text=repeated("", count), status=repeated("ok", count)
            )
        }

    def per_answer(self) -> dict[str, PerAnswer]:
        """End-point errors of the points that image 2 sees."""
        seen = np.isfinite(self.true2_px[:, 0])
        if not seen.any():
            return {}
        error = end_point_error(self.predicted2_px[seen], self.true2_px[seen], self.size2_px[seen])
        return {"end-point error, px": PerAnswer(error, self.group[seen], greater_is_better=False)}
