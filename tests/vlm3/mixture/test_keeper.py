"""The keeper of a plan: what was issued never changes, over changes, crashes and restarts."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm3.config import load_yaml
from vlm3.errors import CheckpointError, ConfigError, DataError, UserError
from vlm3.mixture.keeper import ISSUED_FILE, PLAN_FILE, PlanKeeper, newer_plan, read_plan
from vlm3.mixture.plan import ComponentSize, MixturePlan
from vlm3.mixture.requests import OUTCOME_FILE, REQUEST_FILE, submit_request
from vlm3.storage.failures import StorageError

SIZES = (
    ComponentSize("rooms/depth", 50, 4, "aa"),
    ComponentSize("street/depth", 500, 8, "bb"),
    ComponentSize("empty/depth", 0, 8, "cc"),
)
STEPS, BATCH = 100, 16


def start(weights: tuple[float, ...] = (1, 1, 0), seed: int = 1, **more: object) -> MixturePlan:
    return MixturePlan.start(SIZES, weights, seed, 64, **more)  # type: ignore[arg-type]


def keeper_in(folder: Path, plan: MixturePlan | None = None, consumed: int = 0) -> PlanKeeper:
    return PlanKeeper(folder, plan or start(), STEPS, BATCH, consumed)


def draws(plan: MixturePlan, stop: int) -> list[tuple[int, int]]:
    batch = plan.draws(0, stop)
    return list(zip(batch.component.tolist(), batch.number.tolist(), strict=True))


def outcome(folder: Path) -> dict[str, object]:
    data: dict[str, object] = load_yaml(folder / OUTCOME_FILE)
    return data


def test_a_change_holds_from_the_first_position_that_was_not_issued(tmp_path: Path) -> None:
    keeper = keeper_in(tmp_path)
    early = keeper.issue(64, 128)
    keeper.issue(0, 64)
    segment = keeper.change({"street/depth": 3.0}, at="2026-01-01T00:00:00+00:00")
    assert (segment.from_position, segment.reason, segment.counts) == (128, "live", (16, 48, 0))
    assert segment.at == "2026-01-01T00:00:00+00:00"
    late = keeper.issue(128, 192)
    assert draws(late, 128) == draws(early, 128)
    assert late.asked.tolist() == [0.25, 0.75, 0]
    # Ranges that are read again, or late, are read as before.
    assert draws(keeper.issue(0, 64), 128) == draws(early, 128)
    assert keeper.issued == 192


def test_what_is_not_admitted_is_refused_and_leaves_the_plan(tmp_path: Path) -> None:
    def admit(weights: Mapping[str, float]) -> None:
        if "street/depth" in weights:
            raise DataError("street has no labels")

    keeper = PlanKeeper(tmp_path, start(), STEPS, BATCH, admit=admit)
    with pytest.raises(DataError, match="street has no labels"):
        keeper.change({"street/depth": 3.0})
    assert keeper.plan() == start()
    assert keeper.change({"rooms/depth": 3.0}).counts == (48, 16, 0)


def test_a_change_is_on_disk_before_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = keeper_in(tmp_path)
    keeper.issue(0, 32)
    keeper.change({"rooms/depth": 0})
    assert read_plan(tmp_path) == keeper.plan()
    (tmp_path / PLAN_FILE).unlink()
    (tmp_path / PLAN_FILE).mkdir()  # a write that fails
    with pytest.raises((UserError, OSError)):
        keeper.change({"rooms/depth": 5})
    assert keeper.plan().asked.tolist() == [0, 1, 0]


def test_changes_that_cannot_be_are_refused_and_leave_the_plan(tmp_path: Path) -> None:
    keeper = keeper_in(tmp_path)
    before = keeper.plan()
    for weights, message in (
        ({"romos/depth": 1.0}, "no component 'romos/depth'; did you mean 'rooms/depth'"),
        ({"empty/depth": 1.0}, "no training clips"),
        ({"rooms/depth": -1.0}, "found -1"),
        ({"rooms/depth": 0.0, "street/depth": 0.0}, "no weight"),
    ):
        with pytest.raises(ConfigError, match=message):
            keeper.change(weights)
    keeper.issue(STEPS * BATCH - 16, STEPS * BATCH)
    with pytest.raises(ConfigError, match="all 100 steps of the run were issued"):
        keeper.change({"rooms/depth": 2.0})
    assert keeper.plan() == before == read_plan(tmp_path)


def test_a_change_that_lets_the_mixture_run_dry_is_refused(tmp_path: Path) -> None:
    keeper = keeper_in(tmp_path, start(max_epochs=[1, None, None]))
    with pytest.raises(ConfigError, match="runs dry in step 13 of 100"):
        keeper.change({"street/depth": 0.0})
    with pytest.raises(ConfigError, match="runs dry in step"):
        keeper_in(tmp_path / "other", start((1, 0, 0), max_epochs=[1, None, None]))
    assert not (tmp_path / "other" / PLAN_FILE).exists()


@given(st.data())
def test_whatever_is_issued_changed_and_restarted_no_issued_position_ever_changes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("run")
    plan = start(schedule=[(200, (None, 3, None))], max_epochs=[2, None, None])
    keeper = keeper_in(folder, plan)
    seen: dict[int, tuple[int, int, int]] = {}
    for _ in range(data.draw(st.integers(1, 8))):
        match data.draw(st.sampled_from(["issue", "issue", "change", "restart"])):
            case "issue":
                begin = 16 * data.draw(st.integers(0, 30))
                batch = keeper.issue(begin, begin + 16).draws(begin, begin + 16)
                for at, *what in zip(batch.position, batch.component, batch.clip, batch.seed, strict=True):
                    assert seen.setdefault(int(at), tuple(map(int, what))) == tuple(map(int, what))
            case "change":
                weights = data.draw(st.sampled_from([{"rooms/depth": 0.0, "street/depth": 1.0}, {"rooms/depth": 4.0}]))
                assert keeper.change(weights).from_position == keeper.issued
            case "restart":
                keeper = keeper_in(folder, plan)
                assert keeper.issued > max(seen, default=-1)


def test_after_a_crash_changes_come_above_all_that_was_issued_before(tmp_path: Path) -> None:
    keeper = keeper_in(tmp_path)
    keeper.issue(0, 16)
    again = keeper_in(tmp_path)
    assert again.change({"rooms/depth": 2.0}).from_position >= 16
    assert keeper_in(tmp_path / "fresh", consumed=320).change({"rooms/depth": 2.0}).from_position == 320
    (tmp_path / ISSUED_FILE).write_text("{}")
    with pytest.raises(CheckpointError, match=r"issued\.json: cannot be read"):
        keeper_in(tmp_path)


def test_what_is_issued_is_written_down_first_and_once(tmp_path: Path) -> None:
    keeper = keeper_in(tmp_path)
    keeper.issue(16, 32)
    written = (tmp_path / ISSUED_FILE).stat().st_mtime_ns
    keeper.issue(0, 16)
    keeper.issue(16, 32)
    assert (tmp_path / ISSUED_FILE).stat().st_mtime_ns == written, "earlier ranges and retries add nothing"
    keeper.issue(32, 48)
    assert (tmp_path / ISSUED_FILE).stat().st_mtime_ns > written
    assert keeper_in(tmp_path).issued == 48, "a keeper started again knows it to the position"
    with pytest.raises(ValueError, match=r"found \[5, 5\)"):
        keeper.issue(5, 5)


def test_a_request_is_granted_at_the_next_issue_and_answered(tmp_path: Path) -> None:
    keeper = keeper_in(tmp_path)
    keeper.issue(0, 40)
    name = submit_request(tmp_path, {"rooms/depth": 3.0})
    plan = keeper.issue(40, 80)
    assert plan.segment(40).reason == "live" and plan.segment(40).at is not None
    assert outcome(tmp_path) == {"id": name, "from_position": 40, "step": 3, "refused": None}
    assert not (tmp_path / REQUEST_FILE).exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("weights: {romos/depth: 1}", "did you mean 'rooms/depth'"),
        ("weights: {rooms/depth: -1}", "found -1"),
        ("weights: {rooms/depth: .nan}", "found nan"),
        ("weights: {rooms/depth: 0, street/depth: 0}", "no weight"),
        ("wheights: {}", "did you mean 'weights'"),
        (": : [", "cannot be read as YAML"),
        ("\x00\xff", "cannot be read as YAML"),
    ],
)
def test_a_bad_request_is_refused_in_one_line_and_the_run_goes_on(tmp_path: Path, text: str, message: str) -> None:
    keeper = keeper_in(tmp_path)
    (tmp_path / REQUEST_FILE).write_text(text)
    os.utime(tmp_path / REQUEST_FILE, (0, 0))
    assert keeper.issue(0, 16) == start()
    refused = outcome(tmp_path)["refused"]
    assert isinstance(refused, str) and message in refused and "\n" not in refused
    assert not (tmp_path / REQUEST_FILE).exists()


def test_a_request_waits_while_the_plan_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keeper = keeper_in(tmp_path)
    (tmp_path / PLAN_FILE).unlink()
    (tmp_path / PLAN_FILE).mkdir()
    name = submit_request(tmp_path, {"rooms/depth": 3.0})
    assert keeper.issue(0, 16) == start()
    assert "cannot be answered" in caplog.text and not (tmp_path / OUTCOME_FILE).exists()
    (tmp_path / PLAN_FILE).rmdir()
    keeper.issue(16, 32)
    assert outcome(tmp_path)["id"] == name and outcome(tmp_path)["refused"] is None


def test_a_request_whose_source_cannot_be_looked_at_is_refused_at_once(tmp_path: Path) -> None:
    def admit(weights: Mapping[str, float]) -> None:
        raise StorageError("s3://b/rooms: no answer")

    keeper = PlanKeeper(tmp_path, start(), STEPS, BATCH, 0, admit)
    submit_request(tmp_path, {"rooms/depth": 3.0})
    assert keeper.issue(0, 16) == start()
    assert outcome(tmp_path)["refused"] == "s3://b/rooms: no answer"


def test_a_request_that_cannot_be_answered_waits_and_the_run_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = keeper_in(tmp_path)
    (tmp_path / OUTCOME_FILE).mkdir()
    name = submit_request(tmp_path, {"rooms/depth": 3.0})
    keeper.issue(0, 16)
    assert "cannot be answered" in caplog.text and (tmp_path / REQUEST_FILE).exists()
    (tmp_path / OUTCOME_FILE).rmdir()
    keeper.issue(16, 32)
    assert outcome(tmp_path)["id"] == name
    assert [c.request for c in keeper.plan().changes] == [None, name], "granted once"


def test_a_request_granted_just_before_a_crash_is_not_granted_again(tmp_path: Path) -> None:
    keeper = keeper_in(tmp_path)
    keeper.issue(0, 16)
    name = submit_request(tmp_path, {"rooms/depth": 3.0})
    request = (tmp_path / REQUEST_FILE).read_bytes()
    keeper.plan()
    (tmp_path / OUTCOME_FILE).unlink()
    (tmp_path / REQUEST_FILE).write_bytes(request)
    again = keeper_in(tmp_path)
    again.issue(16, 32)
    assert outcome(tmp_path) == {"id": name, "from_position": 16, "step": 2, "refused": None}
    assert len(again.plan().changes) == 2


def test_the_folders_plan_goes_on_where_it_knows_more() -> None:
    checkpoint = start(schedule=[(500, (0.1, None, None))]).change(100, (2, None, None), at="one")
    file = checkpoint.change(200, (3, None, None), at="two")
    assert newer_plan(checkpoint, None) == checkpoint == newer_plan(checkpoint, checkpoint)
    assert newer_plan(checkpoint, file) == file == newer_plan(file, checkpoint)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (start(seed=2), "other seed"),
        (start((1, 2, 0)), "other start or schedule"),
        (start(schedule=[(9, (1, 1, 0))]), "other start or schedule"),
        (start(max_epochs=[9, None, None]), "other caps"),
        (MixturePlan.start(SIZES[:2], (1, 1), 1, 64), "other components"),
        (MixturePlan.start(SIZES, (1, 1, 0), 1, 128), "other period"),
        (start().change(96, (2, None, None), at="b"), r"position 96 \(b\) there, at 64 \(a\) in the checkpoint"),
    ],
)
def test_plans_that_contradict_each_other_are_refused(file: MixturePlan, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        newer_plan(start().change(64, (2, None, None), at="a"), file)


def test_a_damaged_plan_file_is_named(tmp_path: Path) -> None:
    assert read_plan(tmp_path) is None
    (tmp_path / PLAN_FILE).write_text('{"version":2}')
    with pytest.raises(CheckpointError, match=r"plan\.json: mixture plan cannot be read"):
        keeper_in(tmp_path)
