"""Text like that which the tiny preset will read and write; its tokenizer's words come from here."""

from vlm3.asking.templates import load_templates
from vlm3.tasks.depth.templates import DepthTemplates

TEMPLATE_SETS = ("compact-1", "vlm3-1")
NUMBERS = (0, 7, 48, 163, 1999)


def depth_corpus() -> tuple[str, ...]:
    """Every shipped wording with some coordinates, system texts, and answers."""
    sets = [load_templates(name) for name in TEMPLATE_SETS]
    wordings = [
        wording
        for depth in (templates.part(DepthTemplates) for templates in sets)
        for wording in (*depth.ray, *depth.z)
    ]
    places = [(x, y, n) for x in NUMBERS for y in NUMBERS for n in (100, 2000)]
    questions = [wording.format(x=x, y=y, n=n) for wording in wordings for x, y, n in places]
    answers = [f"{number / 10}" for number in NUMBERS]
    return (*questions, *[templates.system for templates in sets if templates.system], *answers)
