"""Answers to figures: the metrics of each task, for the model and for its baselines."""

from collections.abc import Mapping

from vlm3.asking.tables import AnswerTable, PerAnswer
from vlm3.evaluation.outcomes import asked_only
from vlm3.evaluation.report import MODEL, Score


def score(benchmark: str, table: AnswerTable, seed: int) -> tuple[Score, ...]:
    """All figures of a table and of its baselines, over the questions that could be asked; none where none could be.

    Args:
        benchmark: name.
        table: at least one answer.
        seed: of the bootstrap.
    """
    table = asked_only(table).sound()
    if not len(table):
        return ()
    answerers = {MODEL: table} | dict(table.baselines())
    # A single group drawn again and again has an interval of no width, which would say too much.
    drawn = len(set(table.group)) > 1
    return tuple(
        Score(benchmark, table.task, by, *figure[:2], *(figure[2] if len(figure) == 3 and drawn else (None, None)))
        for by, answers in answerers.items()
        for figure in answers.figures(seed)
    )


def per_answer(table: AnswerTable) -> Mapping[str, PerAnswer]:
    """What two models are compared by, answer by answer; an answer without a value has the worst one."""
    return table.sound().per_answer()
