"""How a trained model wants to be asked: kept beside its weights as `vlm3.json`."""

import json
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field

from vlm3.config import StrictModel
from vlm3.errors import ConfigError
from vlm3.tasks.depth import DepthTaskConfig

FILE = "vlm3.json"


class AskSpec(StrictModel):
    """What unification and wording a model was trained with; asking otherwise gives wrong metres."""

    schema_version: Literal[1] = 1
    focal_px: Annotated[float, Field(gt=0)]
    """Focal length to which every image is unified."""
    depth: DepthTaskConfig = DepthTaskConfig()

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
        return cls.parse(data, str(path))
