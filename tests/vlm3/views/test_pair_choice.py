"""Choosing pairs: even over buckets, no early repetition, a function of its arguments alone."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm3.errors import DataError
from vlm3.views.pair_choice import PARTS, buckets, choose_pair
from vlm3.views.pairs import FramePair


@st.composite
def clips(draw: st.DrawFn) -> tuple[FramePair, ...]:
    """Pairs of up to 8 frames; values repeat often, so that ranges may be empty."""
    frames = draw(st.integers(2, 8))
    every = [(i, j) for i in range(frames) for j in range(i + 1, frames)]
    kept = draw(st.lists(st.sampled_from(every), min_size=1, unique=True))
    value = st.one_of(st.sampled_from([0.0, 0.3, 1.0]), st.floats(0, 1))
    return tuple(FramePair(i, j, draw(value), 5 * draw(value), 180 * draw(value), False) for i, j in sorted(kept))


SEEDS = st.integers(0, 2**64 - 1)


def chosen(pairs: tuple[FramePair, ...], slots: int, seed: int, first: int = 0) -> list[tuple[int, int]]:
    return [choose_pair(pairs, slot, seed)[:2] for slot in range(first, first + slots)]


@given(clips())
def test_buckets_hold_every_pair_once_and_none_is_empty(pairs: tuple[FramePair, ...]) -> None:
    grouped = buckets(pairs)
    assert sorted((p.first, p.second) for members in grouped.values() for p in members) == [
        (p.first, p.second) for p in pairs
    ]
    assert all(grouped.values())
    assert {part for name in grouped for part in name} <= set(range(PARTS))


@given(clips(), SEEDS, st.integers(0, 40), st.integers(1, 40))
def test_any_run_of_slots_draws_the_buckets_evenly_to_one(
    pairs: tuple[FramePair, ...], seed: int, first: int, slots: int
) -> None:
    bucket = {(p.first, p.second): name for name, members in buckets(pairs).items() for p in members}
    drawn = Counter(bucket[min(i, j), max(i, j)] for i, j in chosen(pairs, slots, seed, first))
    counts = [drawn[name] for name in set(bucket.values())]
    assert max(counts) - min(counts) <= 1


@given(clips(), SEEDS)
def test_a_pair_comes_again_only_when_all_of_its_bucket_were_used_and_then_swapped(
    pairs: tuple[FramePair, ...], seed: int
) -> None:
    grouped = buckets(pairs)
    bucket = {(p.first, p.second): name for name, members in grouped.items() for p in members}
    slots = 2 * len(grouped) * max(map(len, grouped.values()))
    for name, members in grouped.items():
        drawn = [pair for pair in chosen(pairs, slots, seed) if bucket[min(pair), max(pair)] == name]
        size = len(members)
        expected = {(p.first, p.second) for p in members}
        assert {(min(pair), max(pair)) for pair in drawn[:size]} == expected
        assert [(j, i) for i, j in drawn[:size]] == drawn[size : 2 * size]


@given(clips(), SEEDS, st.integers(0, 1000))
def test_the_choice_depends_on_its_arguments_and_not_on_the_order_of_the_pairs_buckets(
    pairs: tuple[FramePair, ...], seed: int, slot: int
) -> None:
    assert choose_pair(pairs, slot, seed) == choose_pair(list(pairs), slot, seed)
    i, j, _ = choose_pair(pairs, slot, seed)
    assert (min(i, j), max(i, j)) in {(p.first, p.second) for p in pairs}


def spread(count: int) -> tuple[FramePair, ...]:
    return tuple(FramePair(i, i + 1, 0.3 + 0.1 * (i % 7), 0.1 * (i % 5), 1.0 * i, False) for i in range(count))


def test_seeds_give_other_orders_and_both_directions_come_up_alike() -> None:
    pairs = spread(30)
    orders = {tuple(chosen(pairs, 12, seed)) for seed in range(50)}
    assert len(orders) == 50
    forward = sum(i < j for seed in range(100) for i, j in chosen(pairs, 8, seed))
    assert 320 < forward < 480
    first = Counter(choose_pair(pairs, 0, seed)[:2] for seed in range(600))
    assert len(first) > 30, "the first slot shows any pair"


@pytest.mark.parametrize("unit", [1.0, 1e-3])
def test_a_clip_of_small_baselines_is_spread_like_one_of_large(unit: float) -> None:
    pairs = tuple(FramePair(i, i + 1, 0.5, unit * i, 3.0, False) for i in range(9))
    assert buckets(pairs).keys() == {(0, 0, 0), (0, 1, 0), (0, 2, 0)}
    assert [len(members) for members in buckets(pairs).values()] == [3, 3, 3]


def test_pinned_choices() -> None:
    # Another order would be another training stream.
    assert chosen(spread(10), 6, 7) == [(4, 5), (8, 9), (9, 10), (3, 4), (0, 1), (6, 7)]


def test_a_clip_without_pairs_cannot_be_asked_about() -> None:
    with pytest.raises(DataError, match="no two frames"):
        choose_pair((), 0, 0)
    with pytest.raises(ValueError, match="-1"):
        choose_pair(spread(3), -1, 0)


@given(clips(), SEEDS, st.integers(0, 20), st.lists(st.floats(-4e-15, 4e-15), min_size=28, max_size=28))
def test_the_last_bits_of_what_a_processor_reckons_do_not_decide(
    pairs: tuple[FramePair, ...], seed: int, slot: int, noise: list[float]
) -> None:
    # Values on the border of a rounding step are left out.
    pairs = tuple(
        replace(
            p, overlap=round(p.overlap, 4), baseline_m=round(p.baseline_m, 4), rotation_deg=round(p.rotation_deg, 4)
        )
        for p in pairs
    )
    shaken = tuple(
        replace(p, overlap=p.overlap + e, baseline_m=p.baseline_m + e, rotation_deg=p.rotation_deg + e)
        for p, e in zip(pairs, noise, strict=False)
    )
    assert choose_pair(shaken, slot, seed)[:2] == choose_pair(pairs, slot, seed)[:2]
