"""The newest plan of a run, read from its file only when that was replaced."""

from pathlib import Path

from vlm3.mixture.keeper import PlanKeeper
from vlm3.mixture.plan import ComponentSize, MixturePlan
from vlm3.train.plan_watch import PlanWatch

SIZES = (ComponentSize("a/depth", 4, 8, "fa"), ComponentSize("b/depth", 8, 8, "fb"))


def test_without_a_file_the_plan_is_the_one_the_run_started_with(tmp_path: Path) -> None:
    plan = MixturePlan.start(SIZES, [1, 1], 0, 1024)
    assert PlanWatch(tmp_path, plan)() is plan


def test_a_live_change_is_seen_at_the_next_call_and_the_file_is_not_read_in_between(tmp_path: Path) -> None:
    plan = MixturePlan.start(SIZES, [1, 1], 0, 1024)
    keeper = PlanKeeper(tmp_path, plan, 100, 32)
    watch = PlanWatch(tmp_path, plan)
    assert len(watch().segments) == 1
    keeper.issue(0, 64)
    keeper.change({"a/depth": 3.0})
    assert [segment.reason for segment in watch().segments] == ["start", "live"]
    assert watch() is watch()
