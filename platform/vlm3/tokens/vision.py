"""Image settings of a model. No torch here: processes that only read and decode data import this."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from vlm3.asking.text_model import ImageBounds
from vlm3.errors import ConfigError

PROCESSOR_FILE = "preprocessor_config.json"
CONFIG_FILE = "config.json"


@dataclass(frozen=True, slots=True)
class VisionSpec:
    """The form in which a model takes its images."""

    patch_px: int
    """Side of a patch in pixels."""
    merge: int
    """Patches per side that become one visual token."""
    temporal_patch: int
    """Frames per patch; a still image is repeated that many times."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """Mean and standard deviation by which R, G, B in [0, 1] are normalised."""
    min_pixels: int
    max_pixels: int
    """Bounds on H·W inside which the stock processor does not resize an image that lies on the grid."""
    image_token_id: int
    """Placeholder of one visual token in the prompt."""

    @property
    def bounds(self) -> ImageBounds:
        """Bounds of images that the model takes without resizing them."""
        return ImageBounds(self.token_px, self.min_pixels, self.max_pixels)

    @property
    def token_px(self) -> int:
        """Side in pixels of the square that one visual token covers; image sides are multiples of it."""
        return self.patch_px * self.merge

    def tokens(self, height_px: int, width_px: int) -> int:
        """Number of visual tokens of an image.

        Raises:
            ValueError: the image is not on the grid.
        """
        side = self.token_px
        if height_px % side or width_px % side or not height_px or not width_px:
            raise ValueError(f"image of {width_px} x {height_px} px: sides must be positive multiples of {side} px")
        return (height_px // side) * (width_px // side)

    @classmethod
    def from_directory(cls, model_dir: Path) -> Self:
        """Read `preprocessor_config.json` and `config.json` of a Hugging Face model directory.

        Raises:
            ConfigError: a file is missing, or lacks settings of a Qwen-VL model.
        """
        processor, config = _read_json(model_dir / PROCESSOR_FILE), _read_json(model_dir / CONFIG_FILE)
        try:
            size = processor.get("size") or {}
            return cls(
                patch_px=int(processor["patch_size"]),
                merge=int(processor["merge_size"]),
                temporal_patch=int(processor["temporal_patch_size"]),
                mean=_rgb(processor["image_mean"]),
                std=_rgb(processor["image_std"]),
                # Older directories have min_pixels and max_pixels; newer ones call the same bounds edges.
                min_pixels=int(processor["min_pixels"] if "min_pixels" in processor else size["shortest_edge"]),
                max_pixels=int(processor["max_pixels"] if "max_pixels" in processor else size["longest_edge"]),
                image_token_id=int(config["image_token_id"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{model_dir}: {PROCESSOR_FILE} or {CONFIG_FILE} lacks or has a wrong {error};"
                " expected the files of a Qwen3-VL model"
            ) from None


def _rgb(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such file; expected the directory of a Qwen3-VL model in Hugging Face layout"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: not readable as JSON: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a JSON object, found {type(data).__name__}")
    return data
