"""From positions to samples: exact coverage, the same by one and by many, and across changes of the weights."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vlm3.work import calls
from vlm3.errors import CheckpointError, ConfigError
from vlm3.mixture.plan import MAX_ATTEMPTS, ComponentSize, Draw, DrawBatch, MixturePlan

SIZES = (
    ComponentSize("rooms/depth", 7, 4, "aa"),
    ComponentSize("street/depth", 1, 1, "bb"),
    ComponentSize("later/depth", 0, 8, "cc"),
    ComponentSize("web/depth", 250_000_000, 8, "dd"),
)
PERIOD = 64
POSITIONS = st.integers(0, 10**12)
WEIGHTS = st.tuples(st.floats(0, 9), st.floats(0, 9), st.just(0.0), st.floats(0.1, 9))


def plan_of(seed: int = 1) -> MixturePlan:
    return MixturePlan.start(SIZES, [3, 1, 0, 2], seed, PERIOD)


def rows(batch: DrawBatch) -> list[Draw]:
    columns = (
        batch.position,
        batch.component,
        batch.number,
        batch.epoch,
        batch.visit,
        batch.clip,
        batch.slot,
        batch.seed,
    )
    return [Draw(*row, attempt=0) for row in zip(*(column.tolist() for column in columns), strict=True)]


@given(POSITIONS, st.integers(0, 200), st.integers(-(2**70), 2**70))
def test_a_range_holds_the_samples_of_its_positions(start: int, length: int, seed: int) -> None:
    plan = plan_of(seed)
    batch = plan.draws(start, start + length)
    assert len(batch) == length
    assert rows(batch) == [plan.sample(position) for position in range(start, start + length)]


def test_numbers_count_each_component_without_gap_or_repetition() -> None:
    batch = plan_of().draws(0, 10 * PERIOD + 17)
    for component in range(len(SIZES)):
        numbers = batch.number[batch.component == component]
        assert numbers.tolist() == list(range(len(numbers)))


def test_shares_are_the_quantised_weights() -> None:
    plan = plan_of()
    assert plan.asked.tolist() == [32 / 64, 11 / 64, 0.0, 21 / 64]
    counts = np.bincount(plan.draws(5, 5 + 3 * PERIOD).component, minlength=4)
    assert (counts / (3 * PERIOD)).tolist() == plan.asked.tolist()


def test_an_epoch_takes_every_element_once_in_visits_of_one_clip() -> None:
    size = SIZES[0]
    batch = plan_of().draws(0, 20 * PERIOD)
    mine = batch.component == 0
    clip, slot, visit, epoch = (column[mine] for column in (batch.clip, batch.slot, batch.visit, batch.epoch))
    elements = size.clips * size.slots
    orders = []
    for number in range(5):
        turn = slice(number * elements, (number + 1) * elements)
        assert set(epoch[turn]) == {number}
        assert len(set(zip(clip[turn], slot[turn], strict=True))) == elements
        orders.append(tuple(clip[turn][:: size.slots]))
    for number in np.unique(visit)[:20]:
        assert len(set(clip[visit == number])) == 1
    assert len(set(orders)) > 1, "every epoch has the same order of clips"
    slots = {tuple(slot[visit == number]) for number in range(20)}
    assert len(slots) > 1, "every visit has the same order of slots"


def test_seeds_differ_between_positions_attempts_and_plans() -> None:
    plan = plan_of()
    seeds = [*plan.draws(0, 5000).seed.tolist(), *plan_of(2).draws(0, 5000).seed.tolist()]
    seeds += [plan.sample(position, attempt).seed for position in range(200) for attempt in range(1, 9)]
    assert len(set(seeds)) == len(seeds)


def test_another_seed_gives_another_order_of_the_same_shares() -> None:
    one, two = plan_of(1).draws(0, 1000), plan_of(2).draws(0, 1000)
    assert one.component.tolist() == two.component.tolist()
    assert one.clip.tolist() != two.clip.tolist()


def test_components_keep_their_order_when_another_joins() -> None:
    alone = MixturePlan.start(SIZES[3:], [1], 1, PERIOD).draws(0, 50)
    both = MixturePlan.start(SIZES, [1, 0, 0, 1], 1, PERIOD).draws(0, 100)
    assert both.clip[both.component == 3].tolist() == alone.clip.tolist()


@given(POSITIONS)
def test_replacements_are_other_elements_of_the_same_component(position: int) -> None:
    plan = plan_of()
    draws = [plan.sample(position, attempt) for attempt in range(MAX_ATTEMPTS + 1)]
    assert draws == [plan.sample(position, attempt) for attempt in range(MAX_ATTEMPTS + 1)]
    assert {(d.position, d.component, d.number, d.epoch, d.visit) for d in draws} == {
        (position, draws[0].component, draws[0].number, draws[0].epoch, draws[0].visit)
    }
    size = SIZES[draws[0].component]
    assert all(0 <= d.clip < size.clips and 0 <= d.slot < size.slots for d in draws)
    assert len({(d.clip, d.slot) for d in draws}) == min(size.clips * size.slots, MAX_ATTEMPTS + 1)
    assert len({d.seed for d in draws}) == MAX_ATTEMPTS + 1


def test_replacements_spread_over_the_whole_component() -> None:
    plan = MixturePlan.start(SIZES[:1], [1], 1, PERIOD)
    elements = [(d.clip, d.slot) for d in (plan.sample(position, 1) for position in range(2000))]
    counts = np.unique(np.array(elements), axis=0, return_counts=True)[1]
    assert len(counts) == 28
    assert counts.min() > 30  # 71 expected


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3 * PERIOD), WEIGHTS), min_size=1, max_size=4),
    st.integers(0, 5 * PERIOD),
    st.integers(0, 2 * PERIOD),
)
def test_numbering_goes_on_across_changes_of_weights(
    changes: list[tuple[int, tuple[float, ...]]], start: int, length: int
) -> None:
    plan = plan_of()
    before = rows(plan.draws(0, 50))
    border = 50
    for distance, weights in changes:
        border += distance
        plan = plan.change(border, weights)
    whole = plan.draws(0, 20 * PERIOD)
    for component in range(len(SIZES)):
        numbers = whole.number[whole.component == component]
        assert numbers.tolist() == list(range(len(numbers)))
    assert rows(whole)[:50] == before
    assert rows(plan.draws(start, start + length)) == rows(whole)[start : start + length]
    assert plan.sample(start) == rows(whole)[start]
    after = whole.component[border : border + PERIOD]
    assert (np.bincount(after, minlength=4) / PERIOD).tolist() == plan.asked.tolist()


def test_a_change_before_the_last_is_refused() -> None:
    plan = plan_of().change(1000, [1, 1, 0, 1])
    with pytest.raises(ConfigError, match=r"position 999.*changed at 1000"):
        plan.change(999, [1, 0, 0, 0])
    assert plan.change(1000, [1, 0, 0, 0]).sample(1000).component == 0


def test_weights_that_do_not_fit_the_components_are_refused() -> None:
    with pytest.raises(ConfigError, match="'later/depth' has weight 1 but no training clips"):
        plan_of().change(5, [1, 1, 1, 1])
    with pytest.raises(ConfigError, match="4 components, found 2 weights"):
        MixturePlan.start(SIZES, [1, 1], 0)
    with pytest.raises(ConfigError, match="no weight"):
        MixturePlan.start(SIZES, [0, 0, 0, 0], 0)


def test_positions_and_attempts_outside_the_plan_are_refused() -> None:
    with pytest.raises(ValueError, match="found -1 and 0"):
        plan_of().sample(-1)
    with pytest.raises(ValueError, match="found 0 and 9"):
        plan_of().sample(0, MAX_ATTEMPTS + 1)
    with pytest.raises(ValueError, match=r"found \[5, 4\)"):
        plan_of().draws(5, 4)


@given(POSITIONS, st.integers(0, 2**64))
def test_text_and_pickle_replay_the_stream_exactly(position: int, seed: int) -> None:
    plan = plan_of(seed).change(1234, [1, 2, 0, 3])
    expected = plan.sample(position)
    assert MixturePlan.from_json(plan.to_json(), SIZES).sample(position) == expected
    shipped = pickle.dumps(plan)
    assert pickle.loads(shipped).sample(position) == expected
    assert len(shipped) < 1000


def test_the_stream_never_changes() -> None:
    plan = plan_of(2026)
    assert plan.sample(0) == Draw(0, 0, 0, 0, 0, 2, 0, 9339134104688442700, 0)
    assert plan.sample(10**9, 2) == Draw(10**9, 0, 500_000_000, 17_857_142, 125_000_000, 0, 3, 3199461778231111450, 2)


def test_plans_of_other_data_are_refused() -> None:
    text = plan_of().to_json()
    with pytest.raises(CheckpointError, match=r"has components rooms/depth, street/depth.*this run has rooms/depth: "):
        MixturePlan.from_json(text, SIZES[:1])
    for other in (ComponentSize("rooms/depth", 7, 4, "zz"), ComponentSize("rooms/depth", 8, 4, "aa")):
        with pytest.raises(
            CheckpointError, match=rf"'rooms/depth' was 7 clips.*found {other.clips} of 4 of {other.fingerprint}"
        ):
            MixturePlan.from_json(text, (other, *SIZES[1:]))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"period":64,"limits":[null,', '"period":64,"limits":['),
        ('"period":64', '"period":65'),
        ('"segments":[{"from_position":0', '"segments":[{"from_position":3'),
        ('"changes":[{"from_position":0', '"changes":[{"from_position":3'),
        ('"seed":1', '"seed":"1"'),
        ('"reason":"start"', '"reason":"whim"'),
        ("}", ""),
        ('"version"', '"edition"'),
    ],
)
def test_damaged_plans_are_refused(old: str, new: str) -> None:
    text = plan_of().to_json()
    assert old in text
    with pytest.raises(CheckpointError, match="cannot be read"):
        MixturePlan.from_json(text.replace(old, new), SIZES)


def test_plans_of_another_version_are_refused_with_advice() -> None:
    text = plan_of().to_json().replace('"version":2', '"version":1')
    with pytest.raises(CheckpointError, match=r"version 1, this package reads 2.*start a new run"):
        MixturePlan.from_json(text, SIZES)


def test_a_plan_can_be_looked_at_without_its_data() -> None:
    assert MixturePlan.from_json(plan_of().to_json()) == plan_of()


def test_components_beyond_what_the_shuffle_reaches_are_refused() -> None:
    with pytest.raises(ValueError, match="web: 1099511627776 clips of 2 slots"):
        ComponentSize("web", 1 << 40, 2, "x")


def test_a_million_positions_take_no_more_calls_than_a_thousand() -> None:
    components = [ComponentSize(f"c{index}", 12_500_000 + index, 8, "x") for index in range(20)]
    plan = MixturePlan.start(components, range(1, 21), 0)
    plan.draws(0, 10)
    # Half a second on one core, all of it in numpy.
    assert calls(lambda: plan.draws(0, 1_000_000)) < 1.5 * calls(lambda: plan.draws(0, 1000)) < 1000
