"""Scores of answers about objects: relations, lengths and clock directions, by category and by family.

The rules are those of SpatialRGPT-Bench (Cheng et al., NeurIPS 2024), whose own averages are over questions (micro).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlm3.metrics.intervals import Interval, bootstrap_of, mean_interval, mean_known, ratio_of_sums
from vlm3.metrics.relative import length_right, relative_error

Array = NDArray[np.float64]

DEGREES_PER_HOUR = 30


class QuestionFamily(StrEnum):
    """Rule by which an answer is right."""

    QUALITATIVE = "qualitative"
    """A predicate or a choice, encoded as a number: right when it equals the truth."""
    LENGTH = "length"
    """Metres: right within 25 % of the truth."""
    CLOCK = "clock"
    """A direction as an hour from 1 to 12: right within one hour, round the clock."""


@dataclass(frozen=True, slots=True)
class CategoryScores:
    """Scores of the questions of one category."""

    category: str
    family: QuestionFamily
    count: int
    right_share: float
    """Share of right answers; an unreadable answer is wrong."""
    unreadable_share: float
    abs_rel: float
    """Lengths: mean |p - g| / g over the readable answers. NaN without one, and in other families."""
    clock_error_deg: float
    """Directions: mean error in degrees over the readable answers. NaN without one, and in other families."""


@dataclass(frozen=True, slots=True)
class Averages:
    """Both ways to average over categories; NaN where there is nothing to average."""

    micro: float
    """Mean over the questions."""
    macro: float
    """Mean of the categories' means, each category weighing the same."""
    micro_interval: Interval
    """95 % bootstrap interval over groups, as is the next."""
    macro_interval: Interval


@dataclass(frozen=True, slots=True)
class FamilyScores:
    """Averages over categories."""

    count: int
    unreadable_share: float
    """NaN without questions."""
    right: Averages
    """Share of right answers; an unreadable answer is wrong."""
    abs_rel: Averages
    """Mean |p - g| / g over the readable answers about lengths."""


@dataclass(frozen=True, slots=True)
class ObjectScores:
    """Scores of many answers about objects."""

    categories: tuple[CategoryScores, ...]
    """Sorted by name."""
    qualitative: FamilyScores
    quantitative: FamilyScores
    """Lengths and clock directions."""


def clock_error_deg(predicted_hour: ArrayLike, true_hour: ArrayLike) -> Array:
    """Degrees (N,) between hours of a clock, 0 to 180; NaN where unreadable, 180 where the answer is not an hour."""
    predicted = np.asarray(predicted_hour, np.float64)
    apart = np.abs(predicted - np.asarray(true_hour, np.float64)) % 12
    error = DEGREES_PER_HOUR * np.minimum(apart, 12 - apart)
    return np.where((predicted < 1) | (predicted > 12), 180.0, error)


def object_right(families: Sequence[QuestionFamily], *, predicted: ArrayLike, true: ArrayLike) -> NDArray[np.bool_]:
    """Whether each answer (N,) is right by the rule of its family; an unreadable one (NaN) is not."""
    answer, truth = np.asarray(predicted, np.float64), np.asarray(true, np.float64)
    family = np.array([str(one) for one in families])
    right: NDArray[np.bool_] = np.select(
        [family == QuestionFamily.QUALITATIVE.value, family == QuestionFamily.LENGTH.value],
        [answer == truth, length_right(answer, truth)],
        clock_error_deg(answer, truth) <= DEGREES_PER_HOUR,
    )
    return right


def object_scores(
    categories: Sequence[str],
    families: Sequence[QuestionFamily],
    *,
    predicted: ArrayLike,
    true: ArrayLike,
    groups: ArrayLike,
    seed: int,
) -> ObjectScores:
    """Score answers.

    Args:
        categories: (N,) name of each question's category.
        families: (N,) its family, the same throughout a category.
        predicted: (N,) numbers, metres or hours; NaN where unreadable.
        true: (N,) numbers, metres ≥ 0 or hours from 1 to 12.
        groups: (N,) image of each question.
        seed: seed of the bootstrap.

    Raises:
        ValueError: shapes differ, no answers, a category of two families, or a truth that its family cannot have.
    """
    answer, truth, group = np.asarray(predicted, np.float64), np.asarray(true, np.float64), np.asarray(groups)
    n = len(categories)
    found = [(len(families),), answer.shape, truth.shape, group.shape]
    if n == 0 or found != [(n,)] * 4:
        raise ValueError(f"expected N ≥ 1 families, answers, truths and groups for {n} categories, found {found}")
    family = np.array([str(one) for one in families])
    _check_truths(truth, family)
    category = np.array(categories, str)
    right = object_right(families, predicted=answer, true=truth)
    unreadable = np.isnan(answer)
    error = np.where(family == QuestionFamily.LENGTH.value, relative_error(answer, truth), np.nan)
    clock = np.where(family == QuestionFamily.CLOCK.value, clock_error_deg(answer, truth), np.nan)
    rows = []
    for name in np.unique(category):
        of = category == name
        if len(set(family[of])) != 1:
            raise ValueError(f"category {str(name)!r} has questions of families {', '.join(sorted(set(family[of])))}")
        rows.append(
            CategoryScores(
                category=str(name),
                family=QuestionFamily(str(family[of][0])),
                count=int(of.sum()),
                right_share=float(right[of].mean()),
                unreadable_share=float(unreadable[of].mean()),
                abs_rel=mean_known(error[of]),
                clock_error_deg=mean_known(clock[of]),
            )
        )

    def averaged(of: NDArray[np.bool_]) -> FamilyScores:
        return FamilyScores(
            count=int(of.sum()),
            unreadable_share=mean_known(unreadable[of]),
            right=_averages(right[of].astype(np.float64), category[of], group[of], seed),
            abs_rel=_averages(error[of], category[of], group[of], seed),
        )

    qualitative = family == QuestionFamily.QUALITATIVE.value
    return ObjectScores(tuple(rows), averaged(qualitative), averaged(~qualitative))


def _averages(values: Array, categories: NDArray[np.str_], groups: NDArray[np.generic], seed: int) -> Averages:
    known = ~np.isnan(values)
    if not known.any():
        return Averages(np.nan, np.nan, (np.nan, np.nan), (np.nan, np.nan))
    names, category = np.unique(categories[known], return_inverse=True)
    drawn, group = np.unique(groups[known], return_inverse=True)
    sums, counts = np.zeros((len(drawn), len(names))), np.zeros((len(drawn), len(names)))
    np.add.at(sums, (group, category), values[known])
    np.add.at(counts, (group, category), 1)

    def macro(draws: NDArray[np.int64]) -> Array:
        # A category that was not drawn has no mean, and is left out.
        means: Array = np.nanmean(ratio_of_sums(draws, sums, counts), axis=1)
        return means

    return Averages(
        micro=float(values[known].mean()),
        macro=float(np.mean(sums.sum(axis=0) / counts.sum(axis=0))),
        micro_interval=mean_interval(values[known], group, seed),
        macro_interval=bootstrap_of(macro, len(drawn), seed),
    )


def _check_truths(truth: Array, family: NDArray[np.str_]) -> None:
    for member, right, expected in (
        (QuestionFamily.QUALITATIVE, np.isfinite(truth), "finite"),
        (QuestionFamily.LENGTH, np.isfinite(truth) & (truth >= 0), "finite and not negative"),
        (QuestionFamily.CLOCK, (truth >= 1) & (truth <= 12), "from 1 to 12"),
    ):
        wrong = (family == member.value) & ~right
        if wrong.any():
            raise ValueError(f"truths of family {member.value} must be {expected}, found {truth[wrong][0]}")
