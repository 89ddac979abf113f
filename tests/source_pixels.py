"""The way back from a unified image: what `UnifiedView.map_points` has to undo."""

import numpy as np
from numpy.typing import NDArray

from vlm3.views.unify import UnifiedView


def source_pixels(view: UnifiedView, points_px: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N, 2) unified pixels in the source image; NaN where they are outside of it."""
    camera = view.source_camera
    found = camera.project(view.camera.unproject(points_px))
    found[~camera.contains(found)] = np.nan
    return found
