"""Example texts like those that the tiny preset will read and write, from which its tokenizer is trained."""

from vlm3.asking.templates import load_templates
from vlm3.asking.wordings import SOME_NUMBERS
from vlm3.tasks import TASKS

TEMPLATE_SETS = ("compact-1", "vlm3-1")


def shipped_corpus() -> tuple[str, ...]:
    """Example questions of every task in the shipped template sets, their system texts, and answers."""
    sets = [load_templates(name) for name in TEMPLATE_SETS]
    kinds = [room.templates for room in TASKS if room.templates is not None]
    questions = [
        question
        for templates in sets
        for kind in kinds
        if kind.FIELD in templates.parts()
        for question in templates.part(kind).examples()
    ]
    answers = [f"{number / 10}" for number in SOME_NUMBERS]
    return (*questions, *[templates.system for templates in sets if templates.system], *answers)
