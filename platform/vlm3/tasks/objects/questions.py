"""What is asked about the objects of an item, and by which rule the answers are scored."""

from vlm3.asking.items import ObjectItem, RegionQuestion
from vlm3.asking.object_questions import AnswerForm, ObjectQuestion
from vlm3.seeds import generator
from vlm3.tasks.objects.metrics import QuestionFamily
from vlm3.tasks.objects.task import ObjectsTask, ObjectsTaskConfig

MOST_QUESTIONS = 32
"""Largest number of questions that the boxes of one image give."""


def questions_of(item: ObjectItem, config: ObjectsTaskConfig) -> tuple[RegionQuestion, ...]:
    """The published questions of an item, or those that its boxes answer clearly, the same each time.

    Args:
        item: item of a benchmark.
        config: kinds of questions that the model was trained on, and what is too close to call.
    """
    if item.questions is not None:
        return item.questions
    boxes = tuple(box for box in item.frame.boxes or () if box.region_px is not None)
    task = ObjectsTask(config.model_copy(update={"turns": MOST_QUESTIONS}))
    found = []
    for asked in task.ask_all(boxes, generator("evaluated objects", item.id), item.frame.scale):
        regions = [boxes[index].region_px for index in asked.indices]
        named = tuple(region for region in regions if region is not None)
        found.append(RegionQuestion(asked.question, named, asked.value))
    return tuple(found)


def family_of(question: ObjectQuestion) -> QuestionFamily:
    """Rule by which answers to a question are right."""
    match question.form:
        case AnswerForm.LENGTH:
            return QuestionFamily.LENGTH
        case AnswerForm.CLOCK:
            return QuestionFamily.CLOCK
        case AnswerForm.YES_NO | AnswerForm.CHOICE:
            return QuestionFamily.QUALITATIVE
