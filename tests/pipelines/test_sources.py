"""What is refused before anything is trained on."""

from pathlib import Path

import pytest

from pipelines.sources import evaluated_sources, open_sources, require_labels
from tests.stream_fixtures import FRAMES, PAIR_TASK, TASK, builder_of, damage_clip, write_made_source
from vlm3.errors import ConfigError, DataError
from vlm3.storage.store import open_store
from vlm3.train.recipe import load_recipe

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
    recipe = load_recipe(RECIPES / "four_tasks.yaml", ["tasks.depth=null", "evaluation.primary=null"])
    assert evaluated_sources(recipe, {}) == ()
    assert recipe.tasks.spec().depth is None and recipe.tasks.spec().pose is not None
    with pytest.raises(ConfigError, match="which this recipe does not train"):
        evaluated_sources(load_recipe(RECIPES / "four_tasks.yaml", ["tasks.depth=null"]), {})
