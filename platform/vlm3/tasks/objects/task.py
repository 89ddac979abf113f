"""Objects: which of two is lower, wider or nearer, how far apart and how large they are, named by regions."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from textwrap import shorten
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from vlm3.asking.focals import MetricTask
from vlm3.asking.numbers import read_extent, read_gap
from vlm3.asking.object_questions import AnswerForm, ObjectQuestion
from vlm3.asking.protocol import Conversation, Labels, Turn
from vlm3.asking.references import box_reference
from vlm3.asking.spec import Asked, Focal
from vlm3.asking.templates import Templates, template_set
from vlm3.asking.wordings import LONG_M
from vlm3.config import StrictModel
from vlm3.errors import DataError
from vlm3.geometry.depth import DepthKind
from vlm3.geometry.pixels import Region
from vlm3.scenes.schema import Box, Scale
from vlm3.tasks.objects.parsing import NO, YES, read_choice, read_clock, read_yes_no
from vlm3.tasks.objects.templates import GapWordings, ObjectTemplates, ObjectWordings, PredicateWordings
from vlm3.tasks.objects.truths import Ties, answer_value
from vlm3.views.samples import ViewSample


class ObjectsTaskConfig(StrictModel):
    """How objects are asked about."""

    questions: Annotated[tuple[ObjectQuestion, ...], Field(min_length=1)] = tuple(ObjectQuestion)
    """Kinds of questions, each asked as often as the others where the boxes allow it."""
    turns: Annotated[int, Field(ge=1, le=64)] = 10
    """Questions packed into one sample."""
    reference_range: Annotated[int, Field(ge=2, le=1_000_000)] = 1000
    """N of the text reference (1000: VLM3, arXiv 2605.30561, boxes)."""
    ties: Ties = Ties()
    """What is too close to call is not asked."""
    templates: Templates = "vlm3-1"
    """Name of a shipped template set, or path of a YAML file, which is read at once and kept in the configuration."""


class AskedObjects(Asked):
    """Questions about objects and the images they are about."""

    task = "objects"
    focal_px: Focal = 1000.0
    """Focal length to which every image is unified (VLM3: 1000 px)."""
    ask: ObjectsTaskConfig = ObjectsTaskConfig()

    def build(self) -> "ObjectsTask":
        """The task with this configuration."""
        return ObjectsTask(self.ask)

    def metres(self) -> MetricTask | None:
        """How questions about lengths ask for metres: without a focal length. None where no lengths are asked for."""
        if all(question.form is not AnswerForm.LENGTH for question in self.ask.questions):
            return None
        return MetricTask(self.task, self.focal_px, names_focal=False)


@dataclass(frozen=True, slots=True)
class AskedObject:
    """A question about certain boxes, with its true answer."""

    question: ObjectQuestion
    indices: tuple[int, ...]
    """Indices of the boxes that the question names, in order."""
    value: float
    """The true answer: the number of `AnswerForm`."""


@dataclass(frozen=True, slots=True)
class ObjectsTask:
    """Asks about objects whose boxes are known, as the camera sees them, and reads answers."""

    config: ObjectsTaskConfig

    def __post_init__(self) -> None:
        self._wordings()

    @property
    def name(self) -> str:
        """Name of the task in recipes."""
        return AskedObjects.task

    @property
    def views(self) -> Literal[1]:
        """One image."""
        return 1

    @property
    def asks_about(self) -> Labels:
        """Oriented boxes."""
        return Labels.BOXES

    @property
    def depth_kind(self) -> DepthKind:
        """Any kind would do: the task asks nothing about depth."""
        return DepthKind.Z

    def ask(self, sample: ViewSample, rng: np.random.Generator) -> Conversation:
        """Up to `turns` questions that `ask_all` chooses, wordings drawn at random.

        Raises:
            DataError: the boxes answer none of the configured questions.
        """
        asked = self.ask_all(sample.boxes, rng, sample.scale)
        if not asked:
            where = f"{sample.provenance.source}/{sample.provenance.scene}/{sample.provenance.frame}"
            raise DataError(
                f"{where}: {len(sample.boxes)} boxes in the unified image, of {sample.scale.value} scale, have a clear"
                f" answer to none of {shorten(', '.join(self.config.questions), 100, placeholder=' …')}"
            )
        size = (sample.image.shape[1], sample.image.shape[0])
        turns = []
        for item in asked:
            regions_px = [region for index in item.indices if (region := sample.boxes[index].region_px) is not None]
            questions = self._of(item.question).questions
            wording = questions[int(rng.integers(len(questions)))]
            answer = template_set(self.config.templates).wrap(self.answer(item.question, item.value))
            turns.append(Turn(self._format(item.question, wording, regions_px, size), answer))
        return Conversation(tuple(turns), system=self.system)

    def ask_all(
        self, boxes: Sequence[Box], rng: np.random.Generator, scale: Scale = Scale.METRIC
    ) -> tuple[AskedObject, ...]:
        """Up to `turns` questions about the boxes that have a region: what training and evaluation ask.

        Kinds of questions take turns in random order. Objects are drawn at random and named in random order, so that
        yes is as likely as no, and the first region as the second. Nothing is asked again about the same objects in
        other words: "above" would give "below" away. The same boxes and the same `rng` give the same questions.
        """
        asked: list[AskedObject] = []
        before = -1
        while before < len(asked) < self.config.turns:
            before = len(asked)
            for index in rng.permutation(len(self.config.questions)).tolist():
                if len(asked) == self.config.turns:
                    break
                item = self._draw(self.config.questions[index], boxes, asked, rng, scale)
                if item is not None:
                    asked.append(item)
        return tuple(asked)

    def question(self, question: ObjectQuestion, regions_px: Sequence[Region], image_size_px: tuple[int, int]) -> str:
        """The canonical question about one or two regions of an image of (width, height)."""
        return self._format(question, self._of(question).questions[0], regions_px, image_size_px)

    def answer(self, question: ObjectQuestion, value: float) -> str:
        """The answer as text without tags, from its number of `AnswerForm`."""
        wordings = self._wordings()
        match question.form:
            case AnswerForm.YES_NO:
                return YES if value else NO
            case AnswerForm.CHOICE:
                return wordings.choice.answer.format(number=int(value))
            case AnswerForm.CLOCK:
                return wordings.direction.answer.format(hour=int(value))
            case AnswerForm.LENGTH:
                lengths: GapWordings = getattr(wordings, question.value.removesuffix("_data"))
                return lengths.answer.format(metres=value)

    def read(self, question: ObjectQuestion, answer: str) -> float:
        """The number of `AnswerForm` that an answer states.

        Raises:
            ParseFailure: the text is not exactly one answer of the question's form.
        """
        templates = template_set(self.config.templates)
        text = templates.extract(answer)
        match question.form:
            case AnswerForm.YES_NO:
                return float(read_yes_no(text))
            case AnswerForm.CHOICE:
                return float(read_choice(text))
            case AnswerForm.CLOCK:
                return float(read_clock(text))
            case AnswerForm.LENGTH:
                read = read_extent if question.objects == 1 else read_gap
                return read(text, thousands=templates.thousands)

    @property
    def answer_tokens(self) -> int:
        """Number of tokens that is enough for every answer, also to published questions that were not trained."""
        values: dict[AnswerForm, Sequence[float]] = {
            AnswerForm.YES_NO: (0, 1),
            AnswerForm.CHOICE: (1, 2),
            AnswerForm.CLOCK: range(1, 13),
            AnswerForm.LENGTH: LONG_M,
        }
        answers = (self.answer(question, value) for question in ObjectQuestion for value in values[question.form])
        return template_set(self.config.templates).answer_tokens(answers)

    @property
    def system(self) -> str | None:
        """System prompt of the template set."""
        return template_set(self.config.templates).system

    def _draw(
        self,
        question: ObjectQuestion,
        boxes: Sequence[Box],
        asked: Sequence[AskedObject],
        rng: np.random.Generator,
        scale: Scale,
    ) -> AskedObject | None:
        """A question of this kind whose answer no question so far gives away; None where there is none."""
        known = {frozenset(item.indices) for item in asked if item.question.subject == question.subject}
        named = [index for index, box in enumerate(boxes) if box.region_px is not None]
        candidates = list(permutations(named, question.objects))
        for choice in rng.permutation(len(candidates)).tolist():
            indices = candidates[choice]
            if frozenset(indices) not in known:
                value = answer_value(question, [boxes[index] for index in indices], scale, self.config.ties)
                if value is not None:
                    return AskedObject(question, indices, value)
        return None

    def _format(
        self, question: ObjectQuestion, wording: str, regions_px: Sequence[Region], image_size_px: tuple[int, int]
    ) -> str:
        n = self.config.reference_range
        fields = {}
        for field, region_px in zip(("first", "second")[: question.objects], regions_px, strict=True):
            x0, y0, x1, y1 = box_reference(region_px, image_size_px, n)
            fields[field] = self._wordings().region.format(x0=x0, y0=y0, x1=x1, y1=y1)
        wordings = self._of(question)
        if isinstance(wordings, PredicateWordings):
            fields["relation"] = getattr(wordings.relations, question.relation.value)
        return wording.format(n=n, **fields)

    def _of(self, question: ObjectQuestion) -> ObjectWordings:
        part = {AnswerForm.YES_NO: "predicate", AnswerForm.CHOICE: "choice"}.get(question.form)
        wordings: ObjectWordings = getattr(self._wordings(), part or question.value.removesuffix("_data"))
        return wordings

    def _wordings(self) -> ObjectTemplates:
        return template_set(self.config.templates).part(ObjectTemplates)
