"""Predictions that another model made: numbers at the asked points, or dense maps."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vlm3.errors import DataError
from vlm3.geometry.camera import Camera
from vlm3.geometry.depth import DepthKind
from vlm3.geometry.pixels import scaled_px


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What was predicted for one item and task."""

    where: str
    """File, item and task, for messages."""
    values: NDArray[np.float64]
    """All predicted numbers, flat; NaN where not finite."""
    size: tuple[int, int] | None
    """(height, width) of a dense map; None where the values are not a map."""
    kind: DepthKind | None

    def numbers(self, count: int, what: str) -> NDArray[np.float64]:
        """(count,) values; all NaN where the prediction is empty.

        Raises:
            DataError: the prediction has a different number of values.
        """
        if not len(self.values):
            return np.full(count, np.nan)
        if len(self.values) != count:
            raise DataError(f"{self.where}: expected {what}, found {len(self.values)}")
        return self.values

    def at_points(self, points_px: NDArray[np.float64], camera: Camera, channels: int) -> NDArray[np.float64]:
        """(N, channels) values at points (N, 2) of the original image: as listed, or from the nearest pixel of a map.

        Raises:
            DataError: the prediction has a different number of values.
        """
        count = len(points_px)
        if self.size is None:
            return self.numbers(count * channels, f"{count} points × {channels} values").reshape(count, channels)
        height, width = self.size
        if len(self.values) != height * width * channels:
            raise DataError(
                f"{self.where}: a map of {width}x{height} px has {height * width * channels} values, found"
                f" {len(self.values)}"
            )
        dense: NDArray[np.float64] = self.values.reshape(height, width, channels)
        scale = np.array([width / camera.width_px, height / camera.height_px])
        # Pixel centres lie at whole numbers in the map as in the image.
        column, row = np.rint(scaled_px(points_px, scale)).astype(int).clip(0, [width - 1, height - 1]).T
        sampled: NDArray[np.float64] = dense[row, column]
        return sampled


class Predictions(Protocol):
    """Predictions, looked up by item and task."""

    def find(self, item: str, task: str) -> Prediction:
        """The prediction for an item.

        Raises:
            DataError: there is none, or it cannot be read.
        """
        ...


def statuses(values: NDArray[np.float64]) -> list[str]:
    """Status of each value (N,): NaN means no answer, and counts as unreadable."""
    return ["ok" if np.isfinite(value) else "unreadable" for value in values]
