"""The stream through real Ray Data: every position once, in order where asked, whatever is in the way."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray

from pipelines.cluster import labelled_cpus
from pipelines.failures import user_error
from pipelines.stream import FixedPlan, RangeReader, _pool, in_order, training_stream
from tests.stream_fixtures import builder_of, plan_of, write_made_source
from vlm3.errors import DataError
from vlm3.mixture.ledger import Ledger
from vlm3.mixture.plan import MixturePlan
from vlm3.storage.store import open_store
from vlm3.stream.clip_reader import ClipReader
from vlm3.stream.config import DecodeConfig, ReadConfig, StreamConfig
from vlm3.stream.dealing import Dealing, StepShape
from vlm3.stream.parcels import EncodedParcel, RowParcel
from vlm3.stream.samples import SampleBuilder

WEIGHTS = (0.5, 0.3, 0.2)
pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> tuple[SampleBuilder, MixturePlan]:
    """Three small sources and a plan over them."""
    folder = tmp_path_factory.mktemp("sources")
    sources = [write_made_source(open_store(str(folder / name)), name, 2, 4) for name in "abc"]
    builder = builder_of(sources, tiny_model)
    return builder, plan_of(builder, WEIGHTS)


ACTORS = DecodeConfig(cpus=0.5)


def config(*, deterministic: bool, decode: DecodeConfig = ACTORS, positions: int = 64) -> StreamConfig:
    return StreamConfig(
        deterministic=deterministic, read=ReadConfig(positions=positions, ahead=2, cpus=0.25), decode=decode
    )


def parcels(mixed: tuple[SampleBuilder, MixturePlan], dealing: Dealing, settings: StreamConfig) -> Iterator[RowParcel]:
    builder, plan = mixed
    stream = training_stream(builder, dealing, FixedPlan(plan), settings)
    return map(RowParcel.from_block, stream.iter_batches(batch_size=None, batch_format="pyarrow"))


@pytest.mark.parametrize(
    ("world", "decode"),
    [
        (2, ACTORS),
        (3, ACTORS),
        (2, DecodeConfig(cpus=0.5, actors=2)),
        (2, DecodeConfig(cpus=0.5, pool="tasks")),
    ],
    ids=["even", "uneven", "pool-of-two", "tasks"],
)
def test_in_order_parcels_come_as_they_are_dealt(
    mixed: tuple[SampleBuilder, MixturePlan], world: int, decode: DecodeConfig
) -> None:
    dealing = Dealing(((0, 16 * 20),), StepShape(16, world, 4))
    found = list(parcels(mixed, dealing, config(deterministic=True, decode=decode)))
    assert [[row.position for row in parcel.rows] for parcel in found] == [
        dealing.positions(number).tolist() for number in range(dealing.parcels)
    ]
    assert sum(parcel.cost.requests for parcel in found) > 0


def test_in_free_order_every_remaining_position_comes_once_with_the_same_bytes(
    mixed: tuple[SampleBuilder, MixturePlan],
) -> None:
    builder, plan = mixed
    remaining = Ledger.empty().add([*range(40), *range(60, 100), *range(130, 146)]).remaining(416)
    dealing = Dealing(remaining, StepShape(16, 2, 8))
    rows = {row.position: row for parcel in parcels(mixed, dealing, config(deterministic=False)) for row in parcel.rows}
    expected = [p for start, stop in remaining for p in range(start, stop)]
    assert sorted(rows) == expected
    for parcel in builder.rows(plan, [np.array(expected)]):
        for row in parcel.rows:
            assert np.array_equal(rows[row.position].images[0], row.images[0])
            assert np.array_equal(rows[row.position].input_ids, row.input_ids)


def test_shares_of_each_step_hold_in_both_orders(mixed: tuple[SampleBuilder, MixturePlan]) -> None:
    shape = StepShape(80, 2, 40)
    dealing = Dealing(((0, 80 * 8),), shape)
    for deterministic in (True, False):
        found = list(parcels(mixed, dealing, config(deterministic=deterministic, positions=160)))
        for step in range(8):
            rows = [row for parcel in found[2 * step : 2 * step + 2] for row in parcel.rows]
            counts = np.bincount([row.component for row in rows], minlength=3)
            # In free order a step is made of one run of positions a rank: each may be off by less than two.
            runs = 1 if deterministic else shape.world_size
            assert np.abs(counts - 80 * np.array(WEIGHTS)).max() < 2 * runs, (deterministic, step, counts)


def test_ranks_of_different_size_need_the_order(mixed: tuple[SampleBuilder, MixturePlan]) -> None:
    free = config(deterministic=False)
    assert not in_order(free, StepShape(16, 2, 4)) and in_order(free, StepShape(16, 3, 4))


def test_a_long_run_has_several_ranges_a_task_and_reads_each_once(
    mixed: tuple[SampleBuilder, MixturePlan], monkeypatch: pytest.MonkeyPatch
) -> None:
    builder, plan = mixed
    monkeypatch.setattr("pipelines.stream.MOST_TASKS", 3)
    dealing = Dealing(((0, 16 * 10),), StepShape(16, 1, 16))
    reader = RangeReader(builder, dealing, FixedPlan(plan), 16)
    assert reader.tasks == 3
    blocks = [block for task in range(reader.tasks) for block in reader(task)]
    read = [position for block in blocks for position in EncodedParcel.from_block(block).position.tolist()]
    assert read == list(range(160))


def test_where_only_labelled_nodes_decode_the_pool_is_bounded_by_their_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [
        {"Alive": True, "Labels": {"pool": "cpu", "zone": "a"}, "Resources": {"CPU": 9.0}},
        {"Alive": True, "Labels": {}, "Resources": {"CPU": 100.0}},
        {"Alive": False, "Labels": {"pool": "cpu"}, "Resources": {"CPU": 50.0}},
        {"Alive": True, "Labels": {"pool": "cpu"}, "Resources": {}},
    ]
    monkeypatch.setattr("pipelines.stream.ray.nodes", lambda: nodes)
    assert labelled_cpus({"pool": "cpu"}) == 9 and labelled_cpus({}) == 109 and labelled_cpus({"pool": "none"}) == 0
    labelled = StreamConfig(decode=DecodeConfig(node_labels={"pool": "cpu"}))
    # 0.2 of the 9 CPUs are the readers'; eleven decoders take the other 8.8.
    assert _pool(labelled, 9 - 2 * 0.1).max_size == 11
    assert _pool(StreamConfig(), 109).max_size == float("inf")
    assert _pool(StreamConfig(decode=DecodeConfig(actors=3)), 109).min_size == 3


def test_an_error_of_reading_reaches_the_consumer_as_itself(
    mixed: tuple[SampleBuilder, MixturePlan], tmp_path: Path
) -> None:
    source = write_made_source(open_store(str(tmp_path / "gone")), "gone", 1, 2)
    builder = dataclasses.replace(
        mixed[0], reader=ClipReader((dataclasses.replace(mixed[0].components[0], source=source),), 2)
    )
    plan = plan_of(builder, [1.0])
    for shard in (tmp_path / "gone").glob("train*"):
        shard.unlink()
    dealing = Dealing(((0, 16),), StepShape(16, 1, 16))
    with pytest.raises(ray.exceptions.RayTaskError) as raised:
        list(parcels((builder, plan), dealing, config(deterministic=False)))
    understood = user_error(raised.value)
    assert isinstance(understood, DataError) and "gone/train" in str(understood)
