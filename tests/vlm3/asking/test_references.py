"""Names of pixels in text: published vectors, and what must hold for every image."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm3.asking.references import box_reference, coordinate, reference

SIZES = st.integers(1, 8192)
RANGES = st.sampled_from([2, 100, 1000, 2000])


@pytest.mark.parametrize(
    ("point_px", "named"),
    [((10, 488), (16, 1061)), ((710, 320), (1169, 696)), ((0, 410), (0, 891)), ((1189, 564), (1957, 1226))],
)
def test_points_are_named_as_in_the_paper(point_px: tuple[int, int], named: tuple[int, int]) -> None:
    assert (reference(point_px[0], 1215, 2000), reference(point_px[1], 920, 2000)) == named


@pytest.mark.parametrize(
    ("box_px", "named"),
    [((0, 30, 668, 767), (0, 39, 652, 999)), ((6, 292, 233, 432), (6, 380, 228, 562))],
)
def test_boxes_are_named_as_in_the_paper(
    box_px: tuple[float, float, float, float], named: tuple[int, int, int, int]
) -> None:
    assert box_reference(box_px, (1024, 768), 1000) == named


def test_halves_go_to_the_even_name() -> None:
    assert [reference(x, 4, 2) for x in (1, 2, 3)] == [0, 1, 1]  # 0.5, 1, 1.5 (clamped from 2)
    assert [reference(x, 200, 100) for x in (1, 3, 5, 7)] == [0, 2, 2, 4]


def test_the_range_is_half_open() -> None:
    # On an image wider than N the last pixel rounds to N itself.
    assert reference(4095, 4096, 1000) == 999
    assert reference(-0.4, 4096, 1000) == 0


@given(SIZES, RANGES, st.floats(0, 1))
def test_a_name_leads_back_to_its_pixel_within_half_a_step(size: int, n: int, share: float) -> None:
    x = share * (size - 1)
    name = reference(x, size, n)
    step = size / n
    # Half a step by rounding, up to one where the last name was clamped.
    allowed = step if name == n - 1 else step / 2
    assert abs(coordinate(name, size, n) - x) <= allowed + 1e-9 * size


@given(SIZES, RANGES, st.data())
def test_names_lead_to_pixels_that_bear_them(size: int, n: int, data: st.DataObject) -> None:
    name = data.draw(st.integers(0, n - 1))
    assert reference(coordinate(name, size, n), size, n) == name


@given(SIZES, RANGES, st.floats(-0.5, 8192), st.floats(0, 8192))
def test_names_never_go_backwards_and_stay_in_range(size: int, n: int, x: float, further: float) -> None:
    here, there = reference(x, size, n), reference(x + further, size, n)
    assert 0 <= here <= there <= n - 1
