"""Computes the metrics of each task from the answers, for the model and for the baselines."""

from collections.abc import Mapping

from vlm3.asking.tables import AnswerTable, PerAnswer
from vlm3.evaluation.outcomes import asked_only
from vlm3.evaluation.report import MODEL, Score


def score(benchmark: str, table: AnswerTable, seed: int) -> tuple[Score, ...]:
    """All figures of a table and its baselines over the questions that could be asked; empty if there are none.

    Args:
        benchmark: name of the benchmark.
        table: answers to one task.
        seed: seed of the bootstrap.
    """
    table = asked_only(table).sound()
    if not len(table):
        return ()
    answerers = {MODEL: table} | dict(table.baselines())
    # With a single group the interval would have no width, which would claim too much.
    drawn = len(set(table.group)) > 1
    return tuple(
        Score(benchmark, table.task, by, *figure[:2], *(figure[2] if len(figure) == 3 and drawn else (None, None)))
        for by, answers in answerers.items()
        for figure in answers.figures(seed)
    )


def per_answer(table: AnswerTable) -> Mapping[str, PerAnswer]:
    """Values by measure for comparing models answer by answer; an answer without a value gets the worst one."""
    return table.sound().per_answer()
