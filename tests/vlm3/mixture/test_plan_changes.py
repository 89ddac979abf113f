"""Weights that change: scheduled, live, and capped; what was issued never changes, and every count is exact."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vlm3.work import calls
from vlm3.errors import ConfigError
from vlm3.mixture.plan import ComponentSize, MixturePlan
from vlm3.mixture.segments import Segment, follow

PERIOD = 64
Weights = tuple[float, ...]
Changes = list[tuple[int, Weights]]


def sizes_of(elements: list[tuple[int, int]]) -> tuple[ComponentSize, ...]:
    return tuple(ComponentSize(f"c{i}/depth", clips, slots, "x") for i, (clips, slots) in enumerate(elements))


@st.composite
def plans(draw: st.DrawFn, max_components: int = 32, capped: bool = False) -> MixturePlan:
    """A plan of 2–32 components with a schedule and live changes in between, some of them at one position."""
    count = draw(st.integers(2, max_components))
    ratio = st.sampled_from([0.0, 0.006, 0.01, 0.3, 0.5, 1.0, 1.0])
    weights = st.tuples(*[ratio] * count).filter(any)
    elements = draw(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 4)), min_size=count, max_size=count))
    caps: list[float | None] = [None] * count
    if capped:
        # One component stays without a cap and keeps weight, so that no plan ends.
        caps[1:] = draw(st.lists(st.sampled_from([None, 1, 0.75, 2.5]), min_size=count - 1, max_size=count - 1))
        elements = [(clips * 2, slots * 2) for clips, slots in elements]
        weights = weights.map(lambda drawn: (0.5, *drawn[1:]))
    border = st.integers(1, 6 * PERIOD)
    schedule = sorted(draw(st.lists(st.tuples(border, weights), max_size=3)), key=lambda entry: entry[0])
    plan = MixturePlan.start(sizes_of(elements), draw(weights), 3, PERIOD, schedule, caps)
    position = 0
    for distance, given_weights in draw(st.lists(st.tuples(st.integers(0, 2 * PERIOD), weights), max_size=3)):
        position += distance
        plan = plan.change(position, given_weights, issued=position)
    return plan


def parts(plan: MixturePlan, stop: int) -> list[tuple[Segment, int, int]]:
    """(segment, from, to) up to `stop`."""
    borders = [*(segment.from_position for segment in plan.segments), stop]
    return [(s, min(a, stop), min(b, stop)) for s, a, b in zip(plan.segments, borders, borders[1:], strict=False)]


@settings(max_examples=60)
@given(plans())
def test_counts_of_every_whole_period_are_exact_and_no_window_is_off_by_two(plan: MixturePlan) -> None:
    stop = 14 * PERIOD
    component = plan.draws(0, stop).component
    for segment, begin, end in parts(plan, stop):
        counts = np.array(segment.counts)
        mine = component[begin:end, None] == np.arange(len(counts))
        assert not mine[:, counts == 0].any()
        placed = np.concatenate([np.zeros((1, len(counts)), int), np.cumsum(mine, axis=0)])
        assert ((placed[PERIOD:] - placed[:-PERIOD])[::PERIOD] == counts).all()
        deviation = PERIOD * placed - np.arange(len(placed))[:, None] * counts
        # The greatest and the least prefix bound every window.
        assert (deviation.max(axis=0) - deviation.min(axis=0)).max() < 2 * PERIOD


@settings(max_examples=60)
@given(plans(max_components=6, capped=True), st.integers(0, 12 * PERIOD), st.integers(0, 3 * PERIOD))
def test_counters_go_on_and_ranges_single_samples_and_text_agree(plan: MixturePlan, start: int, length: int) -> None:
    whole = plan.draws(0, 15 * PERIOD)
    for index, size in enumerate(plan.components):
        mine = whole.component == index
        assert whole.number[mine].tolist() == list(range(mine.sum()))
        elements = np.stack([whole.epoch[mine], whole.clip[mine], whole.slot[mine]], axis=1)
        assert len(np.unique(elements, axis=0)) == len(elements), "an element came twice in an epoch"
        assert (whole.epoch[mine] == whole.number[mine] // (size.clips * size.slots)).all()
    part, again = plan.draws(start, start + length), MixturePlan.from_json(plan.to_json(), plan.components)
    assert again == plan
    for name in ("position", "component", "number", "epoch", "visit", "clip", "slot", "seed"):
        column = getattr(whole, name)[start : start + length].tolist()
        assert getattr(part, name).tolist() == column
        assert [getattr(again.sample(position), name) for position in range(start, start + length)] == column
    counted = np.bincount(whole.component[:start], minlength=len(plan.components))
    assert plan.numbers(start).tolist() == counted.tolist()


@settings(max_examples=80)
@given(plans(max_components=6, capped=True))
def test_a_capped_component_gets_its_last_sample_and_not_one_more(plan: MixturePlan) -> None:
    stop = 40 * PERIOD
    component = plan.draws(0, stop).component
    for index, limit in enumerate(plan.limits):
        if limit is None:
            continue
        places = np.flatnonzero(component == index)
        assert len(places) <= limit
        for segment, begin, end in parts(plan, stop):
            if segment.reason == "cap" and begin < end:
                before = plan.segments[plan.segments.index(segment) - 1]
                ended = [i for i, count in enumerate(segment.counts) if before.counts[i] and not count]
                assert ended, "a cap that ends nothing"
                assert all(plan.numbers(begin)[i] == plan.limits[i] for i in ended)
                # The first of them would have stood at this very position.
                uncapped = before.schedule.component[(begin - before.from_position) % PERIOD]
                assert uncapped in ended


@settings(max_examples=80)
@given(plans(max_components=5, capped=True), st.data())
def test_a_live_change_leaves_what_was_issued_and_rebases_what_was_scheduled(
    plan: MixturePlan, data: st.DataObject
) -> None:
    last = max((change.from_position for change in plan.changes if change.reason == "live"), default=0)
    position = last + data.draw(st.integers(0, 3 * PERIOD))
    weights = (0.25, *data.draw(st.tuples(*[st.sampled_from([None, 0.0, 0.5])] * (len(plan.components) - 1))))
    changed = plan.change(position, weights, issued=position, at="now", request="r1")
    before, after = plan.draws(0, position), changed.draws(0, position)
    assert before.component.tolist() == after.component.tolist() and before.number.tolist() == after.number.tolist()
    assert [change for change in changed.changes if change.request != "r1"] == list(plan.changes)
    # Inserting gives what following the whole log anew gives.
    assert follow((), changed.changes, changed.limits, PERIOD) == (changed.segments, changed.end)
    assert changed.numbers(30 * PERIOD).sum() == 30 * PERIOD
    scheduled = {c.from_position for c in plan.changes if c.reason == "schedule" and c.from_position > position}
    assert scheduled <= {segment.from_position for segment in changed.segments}


def test_a_schedule_keeps_the_weights_it_does_not_name_even_those_set_live() -> None:
    sizes = sizes_of([(100, 4)] * 3)
    plan = MixturePlan.start(sizes, [1, 1, 2], 0, PERIOD, [(100, (None, 3, None)), (200, (0, None, None))])
    assert [(s.from_position, s.counts, s.reason) for s in plan.segments] == [
        (0, (16, 16, 32), "start"),
        (100, (11, 32, 21), "schedule"),
        (200, (0, 38, 26), "schedule"),
    ]
    live = plan.change(150, (None, None, 4), issued=128, at="2026-01-01T00:00:00Z")
    assert [(s.from_position, s.counts, s.reason, s.at) for s in live.segments[1:]] == [
        (100, (11, 32, 21), "schedule", None),
        (150, (8, 24, 32), "live", "2026-01-01T00:00:00Z"),
        (200, (0, 27, 37), "schedule", None),
    ]
    assert live.asked_at(150).tolist() == [8 / 64, 24 / 64, 32 / 64]
    assert live.numbers(500).sum() == 500


def test_of_changes_at_one_position_the_live_one_wins_and_all_stay_in_the_log() -> None:
    plan = MixturePlan.start(sizes_of([(9, 1)] * 2), [1, 0], 0, PERIOD, [(64, (None, 1))])
    changed = plan.change(64, (None, 3)).change(64, (2, None))
    assert [change.reason for change in changed.changes] == ["start", "schedule", "live", "live"]
    assert [(s.from_position, s.reason) for s in changed.segments] == [(0, "start"), (64, "live")]
    assert changed.asked.tolist() == [26 / 64, 38 / 64]


def test_changes_of_what_was_issued_or_of_the_past_are_refused() -> None:
    plan = MixturePlan.start(sizes_of([(9, 1)] * 2), [1, 1], 0, PERIOD).change(100, (1, 2), issued=100)
    with pytest.raises(ConfigError, match="at position 99: all below 128 were issued already; change them from 128 on"):
        plan.change(99, (1, 1), issued=128)
    with pytest.raises(ConfigError, match="at position 99: they changed at 100 already"):
        plan.change(99, (1, 1))
    with pytest.raises(ConfigError, match="from position 128 on the mixture has no weight"):
        plan.change(128, (0, 0))
    with pytest.raises(ConfigError, match=r"'c1/depth': expected a finite number ≥ 0, found -1"):
        plan.change(128, (None, -1))


def test_a_cap_ends_a_component_and_the_others_keep_their_ratio() -> None:
    sizes = sizes_of([(8, 4), (1000, 4), (1000, 4)])
    plan = MixturePlan.start(sizes, [2, 1, 1], 0, PERIOD, (), [1.5, None, None])
    first, second = plan.segments
    assert (first.counts, second.counts, second.reason) == ((32, 16, 16), (0, 32, 32), "cap")
    component = plan.draws(0, 10 * PERIOD).component
    assert (component == 0).sum() == 48
    assert plan.epochs(10 * PERIOD)[0] == 1.5
    # It is the place at which sample number 48 would have stood: the third half of a period of 32.
    assert second.from_position == first.reached(0, 48)
    assert MixturePlan.start(sizes, [2, 1, 1], 0, PERIOD).sample(second.from_position).component == 0


def test_live_weights_move_the_caps_that_lie_ahead() -> None:
    sizes = sizes_of([(8, 4), (1000, 4)])
    plan = MixturePlan.start(sizes, [1, 1], 0, PERIOD, (), [4, None])
    assert plan.segments[1].from_position in range(255, 258)
    slower = plan.change(64, (1, 7), issued=64)
    assert [segment.reason for segment in slower.segments] == ["start", "live", "cap"]
    assert slower.segments[2].from_position in range(64 + 8 * 96 - 8, 64 + 8 * 96 + 8)
    assert (slower.draws(0, 3000).component == 0).sum() == 128
    # Given weight again after its cap, a component stays at 0.
    late = plan.change(300, (5, None), issued=300)
    assert late.segments[-1].counts == (0, 64)


def test_a_mixture_that_runs_dry_says_at_which_step_and_has_no_sample_there() -> None:
    sizes = sizes_of([(8, 4), (16, 4)])
    plan = MixturePlan.start(sizes, [1, 1], 0, PERIOD, (), [2, 1])
    assert plan.end == 128
    assert (plan.draws(0, 128).component == 0).sum() == 64
    assert plan.numbers(500).tolist() == [64, 64]
    plan.require_steps(8, 16)
    with pytest.raises(ConfigError, match=r"runs dry in step 9 of 10 \(position 128\).*max_epochs.*at most 8 steps"):
        plan.require_steps(10, 16)
    with pytest.raises(ValueError, match="below 129 were asked for, the mixture ends at 128"):
        plan.sample(128)
    with pytest.raises(ValueError, match="below 130 were asked for"):
        plan.draws(100, 130)
    with pytest.raises(ConfigError, match="position 129: the mixture ends at 128"):
        plan.change(129, (1, 1))
    again = MixturePlan.from_json(plan.to_json(), sizes)
    assert again.end == 128


def test_caps_below_one_sample_are_refused_and_others_round_down() -> None:
    sizes = sizes_of([(3, 1), (3, 1), (0, 4)])
    with pytest.raises(ConfigError, match=r"max_epochs.c0/depth: 0.3 of 3 samples is less than one sample"):
        MixturePlan.start(sizes, [1, 1, 0], 0, PERIOD, (), [0.3, None, None])
    plan = MixturePlan.start(sizes, [1, 1, 0], 0, PERIOD, (), [0.7, None, 5])
    assert plan.limits == (2, None, None)
    assert Fraction(plan.limits[0] or 0, 3) <= Fraction(0.7)


def test_a_cap_beyond_all_streams_is_no_segment() -> None:
    sizes = sizes_of([(1 << 37, 8), (9, 1)])
    plan = MixturePlan.start(sizes, [1e-9, 1], 0, 1 << 20, (), [1e6, None])
    assert len(plan.segments) == 1 and plan.end is None
    assert plan.draws(10**15, 10**15 + 10).number.min() >= 0


def test_ranges_stay_cheap_however_often_weights_changed() -> None:
    weights = np.random.default_rng(0).random((20, 32)) ** 3
    needed = []
    for changes in (2, 20):
        plan = MixturePlan.start(sizes_of([(10**6, 8)] * 32), weights[0], 0)
        for number in range(1, changes):
            plan = plan.change(number * 10_007, weights[number], issued=number * 10_007)
        ranges = range(99_500, 119_500, 1000)
        plan.draws(ranges[0], ranges[-1])
        needed.append(calls(lambda plan=plan, ranges=ranges: [plan.draws(begin, begin + 1000) for begin in ranges]))
    # 0.6 µs a position on one core, nearly all of it in numpy.
    assert needed[1] < 1.2 * needed[0] and needed[1] < 20_000 / 4
