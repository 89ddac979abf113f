"""What is refused before anything is trained on."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.sources import (
    LiveGate,
    components,
    evaluated_sources,
    open_sources,
    require_labels,
    source_uri,
    task_names,
)
from pipelines.weights import start_plan
from tests.stream_fixtures import FRAMES, PAIR_TASK, POSE_TASK, TASK, builder_of, damage_clip, write_made_source
from vlm3.errors import ConfigError, DataError
from vlm3.mixture.plan import MixturePlan
from vlm3.scenes.sharded import ShardedSource
from vlm3.storage.split import Split
from vlm3.storage.store import open_store
from vlm3.tokens.vision import VisionSpec
from vlm3.train.recipe import Recipe, load_recipe

RECIPES = Path(__file__).resolve().parents[2] / "jobs" / "recipes"
ALL_UNPOSED = {(0, 0, frame): "unposed" for frame in range(FRAMES)}


def test_pairs_of_a_source_without_poses_are_refused_by_name(tmp_path: Path, tiny_model: Path) -> None:
    source = write_made_source(open_store(str(tmp_path)), "made", 1, 1, ALL_UNPOSED)
    with pytest.raises(DataError, match=r"made/correspondence .* no camera poses: set mixture.weights"):
        require_labels(builder_of([source], tiny_model, tasks=(TASK, PAIR_TASK)).components)
    require_labels(builder_of([source], tiny_model, tasks=(TASK,)).components)


def test_one_frame_without_a_pose_is_no_reason(tmp_path: Path, tiny_model: Path) -> None:
    source = write_made_source(open_store(str(tmp_path)), "made", 1, 1, {(0, 0, 1): "unposed"})
    require_labels(builder_of([source], tiny_model, tasks=(PAIR_TASK,)).components)


def test_a_source_of_single_views_and_posed_scenes_is_none_without_poses(tmp_path: Path, tiny_model: Path) -> None:
    source = write_made_source(open_store(str(tmp_path)), "made", 1, 3, ALL_UNPOSED)
    require_labels(builder_of([source], tiny_model, tasks=(PAIR_TASK,)).components)


def test_a_damaged_clip_is_left_to_the_quarantine(tmp_path: Path, tiny_model: Path) -> None:
    source = write_made_source(open_store(str(tmp_path)), "made", 1, 2)
    damage_clip(tmp_path, 0, 0)
    require_labels(builder_of([source], tiny_model, tasks=(PAIR_TASK,)).components)


def test_metres_at_two_focal_lengths_are_refused_before_anything_is_rendered(tmp_path: Path) -> None:
    recipe = load_recipe(RECIPES / "four_tasks.yaml", ["tasks.pose.focal_px=50"])
    with pytest.raises(ConfigError, match=r"depth at 70 px, pose at 50 px, objects at 70 px.*\{focal\}"):
        open_sources(recipe, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "override",
    ["tasks.pose={focal_px: 50, ask: {questions: [turns], templates: compact-1}}", "tasks.pose.weight=0"],
)
def test_focal_lengths_matter_only_where_metres_are_asked_for(tmp_path: Path, override: str) -> None:
    overrides = ["tasks.pose.focal_px=50", override, "sources.rooms.weight=0"]
    with pytest.raises(ConfigError, match="the mixture draws nothing"):
        open_sources(load_recipe(RECIPES / "four_tasks.yaml", overrides), tmp_path)


def test_nothing_is_evaluated_in_the_loop_without_depth() -> None:
    none = ["tasks.depth=null", "evaluation.sources=[]", "evaluation.primary=null"]
    recipe = load_recipe(RECIPES / "four_tasks.yaml", none)
    assert evaluated_sources(recipe, {}, {"pose"}) == ()
    assert [part.task for part in recipe.tasks.spec({"pose"}).parts] == ["pose"]
    with pytest.raises(ConfigError, match="which this recipe does not train"):
        evaluated_sources(load_recipe(RECIPES / "four_tasks.yaml", ["tasks.depth=null"]), {}, {"pose"})


def test_rooms_that_differ_from_those_of_their_name_get_a_folder_of_their_own(tmp_path: Path) -> None:
    recipe = load_recipe(RECIPES / "four_tasks.yaml")
    assert source_uri(recipe, "rooms", tmp_path) == str(tmp_path / "data" / "rooms")
    write_made_source(open_store(str(tmp_path / "data" / "rooms")), "rooms", 1, 2)
    own = Path(source_uri(recipe, "rooms", tmp_path))
    assert own.parent == tmp_path / "data" and own.name.startswith("rooms-")
    fewer = load_recipe(RECIPES / "four_tasks.yaml", ["sources.rooms.render.scenes=3"])
    assert source_uri(fewer, "rooms", tmp_path) not in (str(own), str(tmp_path / "data" / "rooms"))
    given = load_recipe(RECIPES / "four_tasks.yaml", ["sources.rooms={uri: s3://b/rooms, weight: 1}"])
    assert source_uri(given, "rooms", tmp_path) == "s3://b/rooms"


STEPS = 10
ROUTES = {
    "task": "tasks.{task}.weight=1",
    "component": "mixture.weights={{made/{task}: 1}}",
    "schedule": "mixture.schedule=[{{at_step: 4, weights: {{made/{task}: 1}}}}]",
}
"""How a recipe gives a task weight."""
HELD = ((Split.TRAIN, 2, 8), (Split.EVAL, 1, 4))


def recipe_of(*sets: str) -> Recipe:
    """Depth and pose on one source, each without weight."""
    small = "{weight: 0, focal_px: 40, ask: {templates: compact-1, reference_range: 100}}"
    pose = "{weight: 0, focal_px: 40, ask: {templates: compact-1}}"
    given = [
        "sources={made: {uri: there, weight: 1}}",
        f"tasks={{depth: {small}, pose: {pose}}}",
        f"train={{steps: {STEPS}, global_batch: 8}}",
        "evaluation.sources=[]",
        "evaluation.primary=null",
    ]
    return load_recipe(RECIPES / "four_tasks.yaml", [*given, *sets])


def plan_of(recipe: Recipe, source: ShardedSource, vision: VisionSpec) -> MixturePlan:
    return start_plan(recipe, *components(recipe, {"made": source}, vision))


@pytest.fixture
def made(tmp_path: Path) -> ShardedSource:
    return write_made_source(open_store(str(tmp_path / "made")), "made", 1, 2)


@pytest.mark.parametrize("route", ROUTES)
def test_a_task_is_trained_by_whatever_route_it_gets_weight(
    route: str, made: ShardedSource, tiny_vision: VisionSpec
) -> None:
    for task, other in (("depth", "pose"), ("pose", "depth")):
        recipe = recipe_of(f"tasks.{other}.weight=1", ROUTES[route].format(task=task))
        trained = task_names(plan_of(recipe, made, tiny_vision).ever_drawn(STEPS * 8))
        assert trained == {"depth", "pose"}
        assert {part.task for part in recipe.tasks.spec(trained).parts} == trained, "both are in the export"


@pytest.mark.parametrize("route", ROUTES)
def test_depth_is_evaluated_by_whatever_route_it_gets_weight(
    route: str, made: ShardedSource, tiny_vision: VisionSpec
) -> None:
    held = replace(made, counts=HELD)
    recipe = recipe_of("tasks.pose.weight=1", ROUTES[route].format(task="depth"))
    trained = task_names(plan_of(recipe, made, tiny_vision).ever_drawn(STEPS * 8))
    assert [source.name for source in evaluated_sources(recipe, {"made": held}, trained)] == ["made"]


def test_a_change_at_the_last_step_trains_nothing(made: ShardedSource, tiny_vision: VisionSpec) -> None:
    late = f"mixture.schedule=[{{at_step: {STEPS}, weights: {{made/pose: 1}}}}]"
    recipe = recipe_of("tasks.depth.weight=1", "tasks.pose.focal_px=50", late)
    assert plan_of(recipe, made, tiny_vision).ever_drawn(STEPS * 8) == ("made/depth",)


@pytest.mark.parametrize("route", ROUTES)
def test_metres_at_two_focal_lengths_are_refused_by_every_route(
    route: str, made: ShardedSource, tiny_vision: VisionSpec
) -> None:
    recipe = recipe_of("tasks.depth.weight=1", "tasks.pose.focal_px=50", ROUTES[route].format(task="pose"))
    with pytest.raises(ConfigError, match="depth at 40 px, pose at 50 px"):
        plan_of(recipe, made, tiny_vision)


def test_depth_that_is_not_in_metres_is_not_scored_in_metres(made: ShardedSource) -> None:
    relative = replace(made, counts=HELD, scale="relative")
    assert evaluated_sources(recipe_of(), {"made": relative}, {"depth"}) == ()
    with pytest.raises(DataError, match="depth of source 'made' is relative, not in metres"):
        evaluated_sources(recipe_of("evaluation.sources=[made]"), {"made": relative}, {"depth"})


def test_live_weights_pass_where_the_run_was_set_up_for_them(tmp_path: Path, tiny_model: Path) -> None:
    posed = write_made_source(open_store(str(tmp_path / "posed")), "posed", 1, 1)
    unposed = write_made_source(open_store(str(tmp_path / "unposed")), "unposed", 1, 1, ALL_UNPOSED)
    parts = builder_of([posed, unposed], tiny_model, tasks=(TASK, PAIR_TASK, POSE_TASK)).components
    gate = LiveGate(tuple(parts), frozenset({"depth", "pose"}))
    gate({"posed/pose": 1.0, "unposed/depth": 2.0, "unposed/pose": 0.0, "posed/correspondence": 0.0})
    with pytest.raises(DataError, match="unposed/pose asks about pairs of views"):
        gate({"unposed/pose": 0.1})
    with pytest.raises(ConfigError, match=r"posed/correspondence: this run was set up without .* mixture.schedule"):
        gate({"posed/correspondence": 0.1})


def test_rendered_rooms_may_all_be_held_out(tmp_path: Path, ray_session: None) -> None:
    small = "scenes: 3, frames_per_scene: 1, width_px: 64, height_px: 48"
    made = tmp_path / "made"
    write_made_source(open_store(str(made)), "rooms", 1, 1)
    sources = f"sources={{rooms: {{uri: {made}, weight: 1}}, held: {{render: {{{small}}}, role: eval}}}}"
    overrides = [sources, "evaluation={}"]
    held = open_sources(load_recipe(RECIPES / "rooms.yaml", overrides), tmp_path)["held"]
    assert (held.role, held.clips(Split.TRAIN), held.frames(Split.EVAL)) == ("eval", 0, 3)
    with pytest.raises(ConfigError, match="held"):
        open_sources(load_recipe(RECIPES / "rooms.yaml", [*overrides, "sources.held.weight=1"]), tmp_path)
