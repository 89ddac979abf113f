"""Answers about objects: columns, figures, baselines."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vlm3.asking.tables import AnswerTable, Figure, Headline, Numbers, PerAnswer, Texts, repeated
from vlm3.metrics.relative import ROUNDING, TOLERANCE
from vlm3.tasks.objects.metrics import QuestionFamily, object_right, object_scores


@dataclass(frozen=True, slots=True, eq=False)
class ObjectTable(AnswerTable):
    """Questions about objects."""

    task = "objects"
    of_truths = True
    headlines = (
        Headline("qualitative_micro", "qualitative"),
        Headline("quantitative_micro", "quantitative"),
        Headline("qualitative_macro", "macro"),
        Headline("quantitative_macro", "macro"),
        Headline("length_abs_rel", "AbsRel"),
        Headline("unreadable_share", "unreadable"),
        Headline("count", "answers", ".0f"),
    )
    category: Texts
    """(N,) name of the question's category in the benchmark."""
    family: Texts
    """(N,) how it is scored: `vlm3.tasks.objects.metrics.QuestionFamily`."""
    question: Texts
    text: Texts
    status: Texts
    true: Numbers
    """(N,) metres, clock hour, 1 or 0 for yes or no, number of the region chosen."""
    predicted: Numbers

    @property
    def statuses(self) -> Texts:
        """(N,) status of each answer."""
        return self.status

    def figures(self, seed: int) -> Iterator[Figure]:
        """Shares of right answers, by family and by category."""
        found = object_scores(
            list(self.category),
            self._families(),
            predicted=self.predicted,
            true=self.true,
            groups=self.group.astype(str),
            seed=seed,
        )
        yield "count", float(len(self))
        yield "unreadable_share", float(np.isnan(self.predicted).mean())
        for name, family in (("qualitative", found.qualitative), ("quantitative", found.quantitative)):
            yield f"{name}_count", float(family.count)
            if family.count:
                yield f"{name}_micro", family.right.micro, family.right.micro_interval
                yield f"{name}_macro", family.right.macro, family.right.macro_interval
        if found.quantitative.count:
            lengths = found.quantitative.abs_rel
            yield "length_abs_rel", lengths.micro, lengths.micro_interval
            yield "length_abs_rel_macro", lengths.macro, lengths.macro_interval
        for category in found.categories:
            yield f"category/{category.category}/count", float(category.count)
            yield f"category/{category.category}/right", category.right_share
            yield f"category/{category.category}/unreadable_share", category.unreadable_share
            if category.family is QuestionFamily.LENGTH:
                yield f"category/{category.category}/abs_rel", category.abs_rel
            if category.family is QuestionFamily.CLOCK:
                yield f"category/{category.category}/error_deg", category.clock_error_deg

    def baselines(self) -> dict[str, Self]:
        """For each category, the one answer that is right most often on these very questions."""
        predicted = np.empty(len(self))
        for category in set(self.category):
            rows = self.category == category
            predicted[rows] = _most_right(self.true[rows], QuestionFamily(str(self.family[rows][0])))
        count = len(self)
        return {
            "best constant": replace(self, predicted=predicted, text=repeated("", count), status=repeated("ok", count))
        }

    def per_answer(self) -> dict[str, PerAnswer]:
        """Whether each answer is right."""
        right = object_right(self._families(), predicted=self.predicted, true=self.true)
        return {"right": PerAnswer(right.astype(np.float64), self.group, greater_is_better=True)}

    def _families(self) -> list[QuestionFamily]:
        return [QuestionFamily(family) for family in self.family]


def _most_right(true: NDArray[np.float64], family: QuestionFamily) -> float:
    """The answer that the rule of the family calls right most often; the smallest of equally good ones."""
    if family is QuestionFamily.LENGTH:
        # Right from 0.75 to 1.25 of the truth, ends included: the largest overlap starts where one begins.
        candidates = np.unique(true * (1 - TOLERANCE))
        tolerance = TOLERANCE + ROUNDING
        begun = np.searchsorted(np.sort(true * (1 - tolerance)), candidates, side="right")
        ended = np.searchsorted(np.sort(true * (1 + tolerance)), candidates, side="left")
        return float(candidates[int(np.argmax(begun - ended))])
    candidates = np.arange(1.0, 13.0) if family is QuestionFamily.CLOCK else np.unique(true)
    right = [
        int(object_right([family] * len(true), predicted=np.full(len(true), answer), true=true).sum())
        for answer in candidates
    ]
    return float(candidates[int(np.argmax(right))])
