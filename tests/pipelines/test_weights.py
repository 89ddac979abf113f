"""The plan of a running job in a real actor: asked by many tasks, changed, killed, restarted."""

import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import ray

from pipelines.sources import components, open_sources
from pipelines.weights import LivePlan, component_sizes, keep_plan, start_plan
from vlm3.errors import CheckpointError, ConfigError
from vlm3.mixture.keeper import PLAN_FILE, read_plan
from vlm3.mixture.plan import ComponentSize, MixturePlan
from vlm3.mixture.requests import WeightsOutcome, submit_request, wait_for_outcome
from vlm3.storage.store import open_store
from vlm3.stream.samples import Component
from vlm3.tokens.vision import VisionSpec
from vlm3.train.recipe import Recipe

SIZES = (ComponentSize("rooms/depth", 50, 4, "aa"), ComponentSize("street/depth", 500, 8, "bb"))
STEPS, BATCH = 1000, 16
Read = list[tuple[int, int, int, int]]


@pytest.fixture
def live(ray_session: None, tmp_path: Path) -> Iterator[LivePlan]:
    kept = keep_plan(tmp_path, MixturePlan.start(SIZES, [1, 1], 1, 64), STEPS, BATCH)
    yield kept
    ray.kill(kept.actor)


@ray.remote(num_cpus=0.5)
def read(live: LivePlan, start: int, stop: int) -> Read:
    batch = live.issue(start, stop).draws(start, stop)
    columns = (batch.position, batch.component, batch.clip, batch.slot)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def by(plan: MixturePlan, start: int, stop: int) -> Read:
    draws = (plan.sample(position) for position in range(start, stop))
    return [(draw.position, draw.component, draw.clip, draw.slot) for draw in draws]


def pid_of(live: LivePlan) -> int:
    pid: int = ray.get(live.actor.__ray_call__.remote(lambda self: os.getpid()))
    return pid


def change(live: LivePlan, run_dir: Path, weights: dict[str, float]) -> WeightsOutcome:
    """Ask for other weights, as a user does, and have the keeper answer."""
    name = submit_request(run_dir, weights)
    live.plan()
    outcome = wait_for_outcome(run_dir, name, 60)
    assert outcome is not None
    return outcome


def test_tasks_in_any_order_read_what_the_log_replays(live: LivePlan, tmp_path: Path) -> None:
    ranges = [(begin, begin + 32) for begin in range(0, 960, 32)]
    waiting = [read.remote(live, *each) for each in reversed(ranges[:15])]
    ray.get(waiting[3])
    first = change(live, tmp_path, {"rooms/depth": 4.0})
    waiting += [read.remote(live, *each) for each in ranges[15:]]
    waiting += [read.remote(live, *each) for each in ranges[::7]]  # retries
    name = submit_request(tmp_path, {"street/depth": 0.0})
    rows = {row for part in ray.get(waiting) for row in part}
    live.plan()
    answer = wait_for_outcome(tmp_path, name, 60)
    assert answer is not None and answer.from_position is not None and first.from_position is not None
    log = read_plan(tmp_path)
    assert log is not None and log == live.plan()
    assert [change.reason for change in log.changes] == ["start", "live", "live"]
    assert first.from_position <= answer.from_position
    assert sorted(rows) == by(log, 0, 960), "a position was read by a plan that the log does not hold"


def test_a_keeper_killed_right_after_a_change_comes_back_with_it(live: LivePlan, tmp_path: Path) -> None:
    before = ray.get(read.remote(live, 0, 64))
    assert change(live, tmp_path, {"rooms/depth": 3.0}).from_position == 64
    segment = live.plan().segment(64)
    pid = pid_of(live)
    os.kill(pid, signal.SIGKILL)
    after = ray.get(read.remote(live, 64, 128))
    assert pid_of(live) != pid
    assert live.plan().segment(64) == segment
    assert before + after == by(live.plan(), 0, 128)
    # What the killed one issued is known to its successor.
    later = change(live, tmp_path, {"rooms/depth": 1.0}).from_position
    assert later is not None and later >= 128


def test_changes_that_cannot_be_are_refused_and_the_keeper_lives_on(live: LivePlan, tmp_path: Path) -> None:
    pid = pid_of(live)
    refused = change(live, tmp_path, {"room/depth": 1.0}).refused
    assert refused is not None
    assert refused.startswith("the mixture has no component 'room/depth'; did you mean 'rooms/depth'")
    assert pid_of(live) == pid and len(live.plan().changes) == 1


def test_asking_costs_a_task_one_call_of_an_actor_and_one_small_file(live: LivePlan, tmp_path: Path) -> None:
    def seconds(call: Callable[[], object]) -> float:
        started = time.perf_counter()
        call()
        return time.perf_counter() - started

    store = open_store(str(tmp_path / "beside"))

    def least() -> None:
        ray.get(live.actor.__ray_call__.remote(lambda self: None))
        store.write_atomic("small", b"x")

    pairs = [
        (seconds(lambda begin=begin: live.issue(begin, begin + 16)), seconds(least)) for begin in range(0, 3200, 16)
    ]
    # In turn, and of both the median: what slows the machine or its disk slows both.
    asking, needed = (statistics.median(column) for column in zip(*pairs, strict=True))
    assert asking < 5 * needed


def test_a_restarted_run_goes_on_by_the_folders_plan_and_refuses_a_strange_one(
    ray_session: None, tmp_path: Path
) -> None:
    start = MixturePlan.start(SIZES, [1, 1], 1, 64)
    first = keep_plan(tmp_path, start, STEPS, BATCH)
    first.issue(0, 64)
    change(first, tmp_path, {"rooms/depth": 7.0})
    ray.kill(first.actor)
    second = keep_plan(tmp_path, start, STEPS, BATCH, consumed=32)
    assert [s.from_position for s in second.plan().segments] == [0, 64]
    ray.kill(second.actor)
    with pytest.raises(CheckpointError, match=f"{PLAN_FILE} in the run's folder has other seed"):
        keep_plan(tmp_path, MixturePlan.start(SIZES, [1, 1], 2, 64), STEPS, BATCH)


def recipe(**mixture: object) -> Recipe:
    rooms = {"scenes": 12, "frames_per_scene": 4, "width_px": 64, "height_px": 48}
    data = {
        "name": "weights",
        "sources": {
            "rooms": {"weight": 0.5, "render": rooms},
            "studios": {"weight": 0.5, "render": {**rooms, "seed": 2}},
        },
        "model": {"id": "tiny"},
        "train": {"steps": 20, "global_batch": 16},
        "mixture": mixture,
    }
    return Recipe.parse(data, "test")


@pytest.fixture(scope="module")
def runs_dir(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def parts_of(given: Recipe, runs_dir: Path) -> tuple[tuple[Component, ...], tuple[float, ...]]:
    vision = VisionSpec(8, 2, 2, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), min_pixels=256, max_pixels=1 << 20, image_token_id=1)
    return components(given, open_sources(given, runs_dir), vision)


def test_a_recipes_schedule_and_caps_are_in_the_plan_it_starts(runs_dir: Path) -> None:
    given = recipe(
        schedule=[{"at_step": 5, "weights": {"studios/depth": 1.5}}],
        max_epochs={"rooms/depth": 3},
    )
    parts, weights = parts_of(given, runs_dir)
    plan = start_plan(given, parts, weights)
    assert [(s.from_position, s.reason) for s in plan.segments][:2] == [(0, "start"), (80, "schedule")]
    elements = plan.components[0].clips * plan.components[0].slots
    assert plan.segments[2].reason == "cap" and plan.epochs(320)[0] == 3
    assert (plan.draws(0, 320).component == 0).sum() == 3 * elements


def test_caps_that_let_a_recipe_run_dry_are_refused_at_the_start(runs_dir: Path) -> None:
    given = recipe(max_epochs={"rooms/depth": 1, "studios/depth": 1})
    parts, weights = parts_of(given, runs_dir)
    with pytest.raises(ConfigError, match=r"runs dry in step \d+ of 20"):
        start_plan(given, parts, weights)


def test_schedules_of_unknown_components_are_refused_with_the_sources(runs_dir: Path) -> None:
    given = recipe(schedule=[{"at_step": 5, "weights": {"studio/depth": 1.5}}])
    with pytest.raises(ConfigError, match="did you mean 'studios'"):
        parts_of(given, runs_dir)


def test_sources_marked_eval_have_nothing_to_draw(runs_dir: Path, tmp_path: Path) -> None:
    source = open_sources(recipe(), runs_dir)["rooms"]
    sizes = component_sizes([("a/depth", source), ("b/depth", replace(source, role="eval"))])
    assert sizes[0].clips > 0 and sizes[1].clips == 0
    with pytest.raises(ConfigError, match=r"'b/depth' has weight 1 but no training clips .*marked eval"):
        MixturePlan.start(sizes, [1, 1], 0)
