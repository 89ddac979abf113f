"""Pixels and boxes named in text by integers of a range [0, N) (VLM3, arXiv 2605.30561, text pixel reference)."""


def reference(x_px: float, size_px: int, n: int) -> int:
    """The name of coordinate `x_px` in an image of `size_px`: round(x / size · n), half to even, within [0, n − 1]."""
    return min(max(round(x_px / size_px * n), 0), n - 1)


def coordinate(name: int, size_px: int, n: int) -> float:
    """The pixel coordinate that a name stands for: the inverse of `reference` up to its rounding."""
    return name * size_px / n


def box_reference(
    box_px: tuple[float, float, float, float], size_px: tuple[int, int], n: int
) -> tuple[int, int, int, int]:
    """Names of x0, y0, x1, y1 of a box in an image of (width, height)."""
    width, height = size_px
    x0, y0, x1, y1 = box_px
    return reference(x0, width, n), reference(y0, height, n), reference(x1, width, n), reference(y1, height, n)
