"""Which labels are asked about."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vlm3.asking.point_sampling import DEPTH_BINS, PointSampling, choose_points, depth_bins, edge_strength

WIDTH, HEIGHT = 96, 64
Points = tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64]]


def labels(count: int, seed: int = 0) -> Points:
    """An image that is black on the left and white on the right, with points and depths all over it."""
    rng = np.random.default_rng(seed)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:, WIDTH // 2 :] = 255
    points_px = rng.uniform((0, 0), (WIDTH - 1, HEIGHT - 1), (count, 2))
    return image, points_px, np.exp(rng.uniform(0, 3, count) ** 2 / 3)


@given(st.sampled_from(PointSampling), st.integers(1, 60), st.integers(1, 64), st.integers(0, 2**32))
def test_points_are_different_as_many_as_there_are_and_given_by_the_seed(
    sampling: PointSampling, count: int, wanted: int, seed: int
) -> None:
    chosen, again = (
        choose_points(sampling, wanted, *labels(count), np.random.default_rng(seed)).tolist() for _ in range(2)
    )
    assert chosen == again
    assert len(chosen) == len(set(chosen)) == min(count, wanted)
    assert set(chosen) <= set(range(count))


def test_uniform_is_a_permutation_cut_short() -> None:
    rng, same = np.random.default_rng(3), np.random.default_rng(3)
    chosen = choose_points(PointSampling.UNIFORM, 10, *labels(100), rng)
    assert chosen.tolist() == same.permutation(100)[:10].tolist()
    assert rng.integers(1 << 30) == same.integers(1 << 30)


@given(st.integers(1, 64), st.integers(1, 300), st.integers(0, 1000))
def test_depths_are_as_even_over_the_occupied_bins_as_labels_allow(wanted: int, count: int, seed: int) -> None:
    image, points_px, depth_m = labels(count, seed)
    bins, rng = depth_bins(depth_m), np.random.default_rng(seed)
    asked = choose_points(PointSampling.DEPTH_BALANCED, wanted, image, points_px, depth_m, rng)
    there, drawn = (np.bincount(part, minlength=DEPTH_BINS) for part in (bins, bins[asked]))
    # A bin that was drawn from less often than another one is used up.
    short = drawn < drawn.max() - 1
    assert (drawn[short] == there[short]).all()


def test_bins_are_equally_wide_in_log_depth() -> None:
    edges = np.geomspace(0.5, 50, DEPTH_BINS + 1)
    assert depth_bins(np.append(edges[:-1] * 1.001, [0.5, 50])).tolist() == [*range(DEPTH_BINS), 0, DEPTH_BINS - 1]
    assert depth_bins(np.full(5, 2.5)).tolist() == [0] * 5


def test_each_label_of_a_bin_is_as_likely_as_the_others_and_each_bin_as_the_others() -> None:
    image, points_px, _ = labels(12)
    depth_m = np.array([1.0] * 9 + [10.0] * 2 + [100.0])
    rng, rounds = np.random.default_rng(0), 3000
    counts = np.zeros(12)
    for _ in range(rounds):
        counts[choose_points(PointSampling.DEPTH_BALANCED, 1, image, points_px, depth_m, rng)] += 1
    for part, share in ((counts[:9], 1 / 27), (counts[9:11], 1 / 6), (counts[11:], 1 / 3)):
        assert np.abs(part - rounds * share).max() < 5 * np.sqrt(rounds * share * (1 - share))


def test_edges_are_strong_beside_them_and_nowhere_else() -> None:
    image, points_px, _ = labels(400)
    strength = edge_strength(image, points_px)
    from_edge_px = np.abs(np.rint(points_px[:, 0]) - (WIDTH / 2 - 0.5))
    assert (strength[from_edge_px < 2] > 254).all() and (strength[from_edge_px > 3] == 0).all()
    rows = edge_strength(np.ascontiguousarray(image.transpose(1, 0, 2)), points_px[:, ::-1])
    assert np.array_equal(rows, strength), "x and y are alike"
    corners = np.array([[0.0, 0.0], [WIDTH - 1, HEIGHT - 1]])
    assert edge_strength(image, corners).tolist() == [0, 0], "the border is no edge"


def test_half_of_the_points_lie_at_the_strongest_edges_and_the_rest_anywhere() -> None:
    image, points_px, depth_m = labels(300)
    points_px[:100, 0] = WIDTH / 2 - 0.5 + np.random.default_rng(1).uniform(-1, 1, 100)
    points_px[100:, 0] %= WIDTH / 2 - 4
    rng, rounds, wanted = np.random.default_rng(0), 500, 10
    at_edge = np.array(
        [
            (choose_points(PointSampling.EDGE_AWARE, wanted, image, points_px, depth_m, rng) < 100).sum()
            for _ in range(rounds)
        ]
    )
    assert at_edge.min() >= wanted / 2
    # The other half draws from the 295 labels that are left, 95 of which are at the edge.
    share, draws = 95 / 295, rounds * wanted / 2
    assert abs((at_edge - 5).sum() - draws * share) < 5 * np.sqrt(draws * share * (1 - share))


@pytest.mark.parametrize("wanted", [1, 3])
def test_without_edges_every_label_is_equally_likely(wanted: int) -> None:
    image, points_px, depth_m = labels(12)
    rng, rounds, counts = np.random.default_rng(0), 3000, np.zeros(12)
    for _ in range(rounds):
        counts[choose_points(PointSampling.EDGE_AWARE, wanted, 0 * image, points_px, depth_m, rng)] += 1
    share = wanted / 12
    assert np.abs(counts - rounds * share).max() < 5 * np.sqrt(rounds * share * (1 - share))
