"""Camera pose: how the second of two views is turned and moved relative to the first."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vlm3.asking.focals import MetricTask
from vlm3.asking.numbers import read_gap
from vlm3.asking.protocol import Conversation, Labels, Turn
from vlm3.asking.spec import Asked, Focal
from vlm3.asking.templates import Templates, template_set
from vlm3.asking.wordings import LONG_M, name_focal
from vlm3.config import StrictModel
from vlm3.errors import DataError
from vlm3.geometry.depth import DepthKind
from vlm3.geometry.rotation import YawPitchRoll, rotation_angle_deg, yaw_pitch_roll
from vlm3.scenes.schema import Scale
from vlm3.tasks.pose.parsing import WORDS, Direction, read_angle, read_direction, read_turns
from vlm3.tasks.pose.templates import PoseTemplates, PoseWordings
from vlm3.views.samples import PairSample

NAMED_ABOVE = 0.25
"""Size from which a component of the unit vector is named in words: 15 degrees off the plane of the other axes."""


class PoseQuestion(StrEnum):
    """What is asked about a pair."""

    ANGLE = "angle"
    """Degrees of the rotation."""
    TURNS = "turns"
    """Yaw, pitch and roll in degrees."""
    DIRECTION = "direction"
    """Direction of the motion: words and a unit vector in the axes of camera 1."""
    DISTANCE = "distance"
    """Metres between the cameras; in metric scenes only."""


class PoseTaskConfig(StrictModel):
    """How poses are asked about."""

    questions: Annotated[tuple[PoseQuestion, ...], Field(min_length=1)] = tuple(PoseQuestion)
    """Questions packed into one sample, in random order."""
    min_baseline_m: Annotated[float, Field(ge=0)] = 0.02
    """A camera that has moved less has no direction to ask about; in scenes of unknown scale any motion counts."""
    templates: Templates = "vlm3-1"
    """Name of a shipped template set, or path of a YAML file, which is read at once and kept in the configuration."""


class AskedPose(Asked):
    """Pose questions and the images they are about."""

    task = "pose"
    focal_px: Focal = 750.0
    """Focal length to which both images are unified (VLM3: 750 px)."""
    ask: PoseTaskConfig = PoseTaskConfig()

    def build(self) -> "PoseTask":
        """The task with this configuration."""
        return PoseTask(self.ask)

    def metres(self) -> MetricTask | None:
        """How the question about the distance asks for metres; None where it is not asked."""
        if PoseQuestion.DISTANCE not in self.ask.questions:
            return None
        return MetricTask(self.task, self.focal_px, self.build().names_focal)


@dataclass(frozen=True, slots=True)
class PoseTask:
    """Asks how camera 2 is turned and moved in the frame of camera 1, and reads answers (VLM3, arXiv 2605.30561)."""

    config: PoseTaskConfig

    def __post_init__(self) -> None:
        self._wordings()

    @property
    def name(self) -> str:
        """Name of the task in recipes."""
        return AskedPose.task

    @property
    def views(self) -> Literal[2]:
        """Two images."""
        return 2

    @property
    def asks_about(self) -> Labels:
        """The pose between two views."""
        return Labels.POSES

    @property
    def depth_kind(self) -> DepthKind:
        """Any kind would do: the task asks nothing about depth."""
        return DepthKind.Z

    def ask(self, sample: PairSample, rng: np.random.Generator) -> Conversation:
        """The configured questions that the pair can answer, wordings and order drawn at random.

        Raises:
            DataError: the pair answers none of them.
        """
        answers = self._answers(sample)
        asked = [question for question in self.config.questions if question in answers]
        if not asked:
            first, second = (f"{view.provenance.scene}/{view.provenance.frame}" for view in sample.views)
            raise DataError(f"{first} and {second} answer none of {', '.join(self.config.questions)}")
        templates, focal = template_set(self.config.templates), round(sample.view1.camera.fx_px)
        turns = []
        for index in rng.permutation(len(asked)):
            wordings = self._of(asked[index]).questions
            question = wordings[int(rng.integers(len(wordings)))].format(focal=focal)
            turns.append(Turn(question, templates.wrap(answers[asked[index]])))
        return Conversation(tuple(turns), images=2, system=self.system)

    @property
    def names_focal(self) -> bool:
        """Whether every question about metres says to which focal length its images are unified."""
        return PoseQuestion.DISTANCE not in self.config.questions or name_focal(
            self._of(PoseQuestion.DISTANCE).questions
        )

    def question(self, question: PoseQuestion, focal_px: float) -> str:
        """The canonical wording of a question about images that are unified to this focal length."""
        return self._of(question).questions[0].format(focal=round(focal_px))

    @property
    def system(self) -> str | None:
        """System prompt of the template set."""
        return template_set(self.config.templates).system

    def read(self, question: PoseQuestion, answer: str) -> float | YawPitchRoll | Direction:
        """Degrees, turns, direction or metres, according to the question.

        Raises:
            ParseFailure: the answer is not exactly one of these.
        """
        templates, pattern = template_set(self.config.templates), self._of(question).pattern
        text = templates.extract(answer)
        match question:
            case PoseQuestion.ANGLE:
                return read_angle(text, pattern)
            case PoseQuestion.TURNS:
                return read_turns(text, pattern)
            case PoseQuestion.DIRECTION:
                return read_direction(text, pattern)
            case PoseQuestion.DISTANCE:
                return read_gap(text, pattern, templates.thousands)

    @property
    def answer_tokens(self) -> int:
        """Number of tokens that is enough for every answer to any of the questions."""
        templates = template_set(self.config.templates)
        words = ", ".join(max((word for word, (of, _) in WORDS.items() if of == axis), key=len) for axis in range(3))
        # Numbers with a sign, as many digits before the point as possible, and all digits where there is no format.
        turn_deg, part = -539 / 3, -((1 / 3) ** 0.5)
        longest = {
            PoseQuestion.ANGLE: [{"degrees": -turn_deg}],
            PoseQuestion.TURNS: [dict.fromkeys(("yaw", "pitch", "roll"), turn_deg)],
            PoseQuestion.DIRECTION: [{"words": words, "x": part, "y": part, "z": part}],
            PoseQuestion.DISTANCE: [{"metres": metres} for metres in LONG_M],
        }
        return max(
            templates.answer_tokens(
                (wordings.answer.format(**fields) for fields in longest[question]), wordings.pattern
            )
            for question in PoseQuestion
            for wordings in (self._of(question),)
        )

    def _answers(self, sample: PairSample) -> dict[PoseQuestion, str]:
        rotation, moved_m = sample.cam1_T_cam2[:3, :3], sample.cam1_T_cam2[:3, 3]
        turns = yaw_pitch_roll(rotation)
        answers = {
            PoseQuestion.ANGLE: self._of(PoseQuestion.ANGLE).answer.format(degrees=rotation_angle_deg(rotation)),
            PoseQuestion.TURNS: self._of(PoseQuestion.TURNS).answer.format(
                yaw=turns.yaw_deg, pitch=turns.pitch_deg, roll=turns.roll_deg
            ),
        }
        baseline_m = float(np.linalg.norm(moved_m))
        metric = all(view.scale is Scale.METRIC for view in sample.views)
        if metric:
            answers[PoseQuestion.DISTANCE] = self._of(PoseQuestion.DISTANCE).answer.format(metres=baseline_m)
        if baseline_m > (self.config.min_baseline_m if metric else 0.0):
            x, y, z = (moved_m / baseline_m).tolist()
            answers[PoseQuestion.DIRECTION] = self._of(PoseQuestion.DIRECTION).answer.format(
                words=direction_words(moved_m), x=x, y=y, z=z
            )
        return answers

    def _of(self, question: PoseQuestion) -> PoseWordings:
        wordings: PoseWordings = getattr(self._wordings(), question.value)
        return wordings

    def _wordings(self) -> PoseTemplates:
        return template_set(self.config.templates).part(PoseTemplates)


def direction_words(moved: NDArray[np.float64]) -> str:
    """Words for the axes along which a vector (3,) mainly points, e.g. "left, forward"; never empty."""
    unit = moved / np.linalg.norm(moved)
    named = np.abs(unit) >= min(NAMED_ABOVE, float(np.abs(unit).max()))
    return ", ".join(word for word, (axis, sign) in WORDS.items() if named[axis] and unit[axis] * sign > 0)
