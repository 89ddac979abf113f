"""Pixels to patches, exactly as the stock Qwen-VL image processor does it, but on the images' own device."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from vlm3.errors import ConfigError

PROCESSOR_FILE = "preprocessor_config.json"
CONFIG_FILE = "config.json"


@dataclass(frozen=True, slots=True)
class VisionSpec:
    """How a model directory wants its images."""

    patch_px: int
    """Side of a patch."""
    merge: int
    """Patches per side that become one visual token."""
    temporal_patch: int
    """Frames per patch; a still image is repeated as often."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """Normalisation of R, G, B in [0, 1]."""
    min_pixels: int
    max_pixels: int
    """Bounds on H·W inside which the stock processor does not resize an image that lies on the grid."""
    image_token_id: int
    """Token that stands for one visual token in the prompt."""

    @property
    def token_px(self) -> int:
        """Side of the square that one visual token sees; image sides are multiples of it."""
        return self.patch_px * self.merge

    def tokens(self, height_px: int, width_px: int) -> int:
        """Visual tokens of an image.

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
            ConfigError: a file is missing, or lacks what a Qwen-VL model needs.
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
                # Older directories say min_pixels; newer ones call the same bounds edges.
                min_pixels=int(processor["min_pixels"] if "min_pixels" in processor else size["shortest_edge"]),
                max_pixels=int(processor["max_pixels"] if "max_pixels" in processor else size["longest_edge"]),
                image_token_id=int(config["image_token_id"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{model_dir}: {PROCESSOR_FILE} or {CONFIG_FILE} lacks or has a wrong {error};"
                " expected the files of a Qwen3-VL model"
            ) from None


def patchify(images: Sequence[torch.Tensor], spec: VisionSpec) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised patches of images that lie on the token grid.

    Args:
        images: uint8 tensors (H, W, 3) RGB, all on one device; sides are multiples of `spec.token_px`.
        spec: of the model that will see them.

    Returns:
        pixel_values: float32 (patches of all images, 3·temporal·patch²); those of one visual token are neighbours.
        image_grid_thw: int64 (images, 3), patches in time, height and width.

    Raises:
        ValueError: an image is not on the grid.
    """
    patches, grids = [], []
    for image in images:
        height_px, width_px, _ = image.shape
        spec.tokens(height_px, width_px)
        rows, columns = height_px // spec.patch_px, width_px // spec.patch_px
        # Still uint8 here: moving bytes costs a quarter of moving floats.
        cells = image.reshape(
            rows // spec.merge, spec.merge, spec.patch_px, columns // spec.merge, spec.merge, spec.patch_px, 3
        )
        patches.append(cells.permute(0, 3, 1, 4, 6, 2, 5).reshape(rows * columns, 3, spec.patch_px * spec.patch_px))
        grids.append((1, rows, columns))
    pixels = torch.cat(patches)
    mean, std = (torch.tensor(values, device=pixels.device).view(1, 3, 1) for values in (spec.mean, spec.std))
    values = pixels.to(torch.float32).mul_(1 / 255).sub_(mean).div_(std)
    frames = values.unsqueeze(2).expand(-1, -1, spec.temporal_patch, -1)
    return frames.reshape(len(values), -1), torch.tensor(grids, device=pixels.device)


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
