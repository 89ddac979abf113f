"""How a trained model wants to be asked: kept beside its weights as `vlm3.json`."""

import json
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field

from vlm3.config import StrictModel, load_yaml
from vlm3.errors import ConfigError
from vlm3.tasks.correspondence import CorrespondenceTaskConfig
from vlm3.tasks.depth import DepthTaskConfig
from vlm3.tasks.depth_marker import MarkerDepthTaskConfig
from vlm3.tasks.objects import ObjectsTaskConfig
from vlm3.tasks.pose import PoseTaskConfig

FILE = "vlm3.json"
AskedT = TypeVar("AskedT")
Focal = Annotated[float, Field(gt=0)]


class AskedDepth(StrictModel):
    """Depth questions and the images they are about."""

    focal_px: Focal = 1000.0
    """Focal length to which every image is unified (VLM3: 1000 px)."""
    ask: DepthTaskConfig = DepthTaskConfig()


class AskedDepthMarker(StrictModel):
    """Depth questions about a point that an arrow marks: for comparison with the text reference."""

    focal_px: Focal = 1000.0
    """Focal length to which every image is unified."""
    ask: MarkerDepthTaskConfig = MarkerDepthTaskConfig()


class AskedCorrespondence(StrictModel):
    """Correspondence questions and the images they are about."""

    focal_px: Focal = 1000.0
    """Focal length to which both images are unified."""
    ask: CorrespondenceTaskConfig = CorrespondenceTaskConfig()


class AskedPose(StrictModel):
    """Pose questions and the images they are about."""

    focal_px: Focal = 750.0
    """Focal length to which both images are unified (VLM3: 750 px)."""
    ask: PoseTaskConfig = PoseTaskConfig()


class AskedObjects(StrictModel):
    """Questions about objects and the images they are about."""

    focal_px: Focal = 1000.0
    """Focal length to which every image is unified (VLM3: 1000 px)."""
    ask: ObjectsTaskConfig = ObjectsTaskConfig()


class AskSpec(StrictModel):
    """What unification and wording a model was trained with; asking otherwise gives wrong answers."""

    schema_version: Literal[2] = 2
    depth: AskedDepth | None = None
    """None here and below: the model was not trained on such questions."""
    depth_marker: AskedDepthMarker | None = None
    """How depth is asked about where `depth` is None."""
    correspondence: AskedCorrespondence | None = None
    pose: AskedPose | None = None
    objects: AskedObjects | None = None
    answer_tokens: Annotated[int, Field(ge=1, le=65536)] | None = None
    """Bound on an answer, for models that say more than they were trained on here; default: what the longest answer of
    the template set takes (`vlm3.tasks.templates.TemplateSet.answer_tokens`)."""

    @classmethod
    def of_every_task(cls) -> Self:
        """The shipped wordings of every task, for models that were not trained here."""
        return cls(depth=AskedDepth(), correspondence=AskedCorrespondence(), pose=AskedPose(), objects=AskedObjects())

    def to_json(self) -> str:
        """Text of the file."""
        return self.model_dump_json(indent=2) + "\n"

    def write(self, directory: Path) -> None:
        """Put the file into a model directory."""
        (directory / FILE).write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Read the file of a model directory.

        Raises:
            ConfigError: the file is missing, or not what this version writes.
        """
        path = directory / FILE
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError(
                f"{path}: no such file; expected a model exported by this platform; the file says how to ask it"
            ) from None
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: not readable as JSON: {error}") from None
        version = data.get("schema_version") if isinstance(data, dict) else None
        if version not in (None, 2):
            raise ConfigError(f"{path}: schema_version {version}, expected 2: export the model with this version")
        return cls.parse(data, str(path))

    @classmethod
    def read_yaml(cls, path: Path) -> Self:
        """Read what a user wrote about a model that was trained elsewhere.

        Raises:
            ConfigError: no such file, or a wrong key.
        """
        if not path.is_file():
            raise ConfigError(
                f"{path}: no such file; expected YAML that says how to ask each task (docs/evaluation.md)"
            )
        return cls.parse(load_yaml(path), str(path))


def trained_on(asked: AskedT | None, task: str) -> AskedT:
    """What a spec says of a task.

    Raises:
        ConfigError: nothing.
    """
    if asked is None:
        raise ConfigError(f"the model was not trained on {task} questions: its {FILE} does not say how to ask them")
    return asked
