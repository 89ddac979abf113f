"""Batch prediction over replicas: the same answers whatever happens on the way."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.predict import PARTS, AnswerActor, Replicas, predict
from tests.frames import make_frame
from vlm3.asking.items import DepthItem, Item
from vlm3.asking.tables import AnswerTable
from vlm3.errors import ConfigError, DataError, UserError
from vlm3.tasks.depth.room import depth_table
from vlm3.tasks.depth.table import DepthTable

ROWS = tuple(f"row-{number:02d}" for number in range(18))


@dataclass(frozen=True)
class MadeBenchmark:
    """A frame a row; the last one has nothing to ask about."""

    version: int = 0

    @property
    def name(self) -> str:
        return "made"

    def rows(self) -> tuple[str, ...]:
        return ROWS

    def read(self, row: str) -> tuple[Item, ...]:
        if row == ROWS[-1]:
            return ()
        frame = make_frame(row, 0)
        return (DepthItem(row, row, frame, frame.points[:2, :2].astype(np.float64), np.array([3.0, 3.0])),)

    def identity(self) -> str:
        return f"made-{self.version}"


@dataclass(frozen=True)
class Clerk:
    """Answers the number of the row, notes what it was asked, and has an accident at one row, once."""

    folder: Path
    accident: str | None = None
    at: str = ROWS[9]
    identity: str = "clerk"

    def build(self, threads: int) -> "Clerk":
        return self

    def answer(self, item: Item) -> tuple[AnswerTable, ...]:
        assert isinstance(item, DepthItem)
        happened = self.folder / "accident"
        if item.id == self.at and self.accident and not happened.exists():
            happened.touch()
            if self.accident == "dies":
                os._exit(1)
            raise DataError(f"{item.id}: out of ink")
        with (self.folder / "asked").open("a") as notes:
            notes.write(f"{item.id}\n")
        said = np.full((2, 2), float(item.id[-2:]))
        return (depth_table(item, said, ["yes", "no"], ["ok", "ok"]),)


Run = Callable[..., DepthTable]


@pytest.fixture
def run(ray_session: None, tmp_path: Path) -> Run:
    def started(name: str = "answers", accident: str | None = None, replicas: int = 1) -> DepthTable:
        source = Clerk(tmp_path, accident)
        tables = predict(MadeBenchmark(), ROWS, source, tmp_path / name, Replicas(replicas, 0.5))  # type: ignore[arg-type]
        (table,) = tables.values()
        assert isinstance(table, DepthTable)
        return table

    return started


def complete(table: DepthTable) -> bool:
    items = [row for row in ROWS[:-1] for _ in range(2)]
    return table.item.tolist() == items and table.predicted_m[:, 0].tolist() == [float(row[-2:]) for row in items]


def test_answers_come_in_the_order_of_the_rows_from_one_replica_or_two(run: Run) -> None:
    assert complete(run("one")) and complete(run("two", replicas=2))


def test_an_interrupted_run_goes_on_with_what_is_missing(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^row-09: out of ink$"):
        run(accident="raises")
    before = (tmp_path / "asked").read_text().split()
    assert before and "row-09" not in before
    assert complete(run())
    after = (tmp_path / "asked").read_text().split()[len(before) :]
    assert sorted(after)[0] == "row-09", "what was answered before is kept, what a replica was ahead is not"
    assert complete(run()), "and once more: nothing is left to ask"
    assert len((tmp_path / "asked").read_text().split()) == len(before) + len(after)


def test_a_replica_that_dies_is_replaced(run: Run, tmp_path: Path) -> None:
    assert complete(run(accident="dies", replicas=2))
    assert (tmp_path / "accident").exists()


def test_what_systems_leave_beside_kept_answers_is_no_answer(tmp_path: Path) -> None:
    parts = tmp_path / "answers" / PARTS
    parts.mkdir(parents=True)
    source = Clerk(tmp_path)
    kept = AnswerActor(MadeBenchmark(), source, 1)(pa.table({"row": list(ROWS)}))  # type: ignore[arg-type]
    pq.write_table(kept, parts / "000000.parquet")
    (parts / "._000000.parquet").write_bytes(b"no answers")
    (table,) = predict(MadeBenchmark(), ROWS, source, tmp_path / "answers", Replicas()).values()  # type: ignore[arg-type]
    assert isinstance(table, DepthTable) and complete(table)


def test_answers_of_another_model_or_to_other_data_are_not_mixed_in(run: Run, tmp_path: Path) -> None:
    run()
    for benchmark, source in (
        (MadeBenchmark(1), Clerk(tmp_path)),
        (MadeBenchmark(), Clerk(tmp_path, identity="other")),
    ):
        with pytest.raises(ConfigError, match="choose another --name"):
            predict(benchmark, ROWS, source, tmp_path / "answers", Replicas(1, 0.5))  # type: ignore[arg-type]
