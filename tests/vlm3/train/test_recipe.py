"""Recipes: strict, overridable, and with an identity that knows what a continuation may change."""

from pathlib import Path

import pytest

from vlm3.config import dump_yaml
from vlm3.errors import ConfigError
from vlm3.train.recipe import load_recipe, merge

DEFAULT = Path(__file__).resolve().parents[3] / "jobs" / "recipes" / "rooms.yaml"


def test_the_default_recipe_says_what_the_readme_says() -> None:
    recipe = load_recipe(DEFAULT)
    assert recipe.model.id == "tiny" and recipe.engine.zero_stage == 2
    assert sum(source.weight for source in recipe.sources.values()) == pytest.approx(1)
    # What fits five minutes on two cores with all the rest of the demo, however it is cut into steps.
    assert recipe.train.steps * recipe.train.global_batch <= 4_000 and recipe.tasks.depth.ask.points == 10


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.stepz=2", "did you mean 'steps'"),
        ("optimiser.learning_rate=1e-3", "did you mean 'optimizer'"),
        ("sources.rooms.render.sceness=2", "did you mean 'scenes'"),
        ("train.steps=many", "train.steps"),
        ("train.steps=0", "train.steps"),
        ("train.device=tpu", "train.device"),
        ("sources.rooms.weight=-1", "sources.rooms.weight"),
        ("name=../elsewhere", "name"),
        ("tasks.depth.ask.templates=compact-3", "did you mean 'compact-"),
        ("sources.far={uri: far, role: eval}", "role: only for rendered rooms; ingest the source with --role eval"),
        ("train.steps", "="),
        (
            "mixture.schedule=[{at_step: 5, weights: {rooms/depth: 0.2}}, {at_step: 4, weights: {rooms/depth: 1}}]",
            "ascending",
        ),
        ("mixture.schedule=[{at_stp: 5, weights: {rooms/depth: 0.2}}]", "did you mean 'at_step'"),
        ("mixture.max_epochs={rooms/depth: 0}", "mixture.max_epochs.rooms/depth"),
        ("optimizer.learning_rate=.inf", "optimizer.learning_rate: Input should be a finite number"),
        ("tasks.depth.focal_px=.inf", "tasks.depth.focal_px: Input should be a finite number"),
        ("sources.rooms.weight=.nan", "sources.rooms.weight: Input should be a finite number"),
        ("mixture.weights={rooms/depth: .inf}", "mixture.weights.rooms/depth: Input should be a finite number"),
    ],
)
def test_a_wrong_override_is_one_line_that_names_key_and_remedy(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_recipe(DEFAULT, [override])
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_overlays_merge_key_by_key_and_overrides_come_last(tmp_path: Path) -> None:
    overlay = tmp_path / "mixture.yaml"
    overlay.write_text(dump_yaml({"sources": {"rooms": {"weight": 0.2}, "studios": {"weight": 0.8}}}))
    recipe = load_recipe(DEFAULT, ["sources.studios.weight=0.9"], [overlay])
    assert (recipe.sources["rooms"].weight, recipe.sources["studios"].weight) == (0.2, 0.9)
    assert recipe.sources["rooms"].render == load_recipe(DEFAULT).sources["rooms"].render
    assert merge({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}) == {"a": {"b": 3, "c": 2}}


@pytest.mark.parametrize(
    "override",
    [
        "tracking.experiment=other",
        "evaluation.images=3",
        "train.workers=1",
        "train.checkpoint_every_steps=7",
        "engine.micro_batch=8",
        "sources.rooms.uri=/elsewhere",
        "name=other",
    ],
)
def test_a_continuation_may_change_what_is_not_learned(override: str) -> None:
    assert load_recipe(DEFAULT, [override]).fingerprint() == load_recipe(DEFAULT).fingerprint()


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "sources.rooms.weight=0.5",
        "train.steps=10",
        "train.global_batch=8",
        "tasks.depth.focal_px=80",
        "tasks.depth.ask.decimals=2",
        "optimizer.learning_rate=1e-4",
        "engine.zero_stage=1",
        "stream.period=2048",
        "mixture.schedule=[{at_step: 5, weights: {rooms/depth: 0.2}}]",
        "mixture.max_epochs={rooms/depth: 4}",
    ],
)
def test_what_is_learned_makes_another_recipe(override: str) -> None:
    assert load_recipe(DEFAULT, [override]).fingerprint() != load_recipe(DEFAULT).fingerprint()


def test_the_resolved_recipe_is_a_recipe(tmp_path: Path) -> None:
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(dump_yaml(load_recipe(DEFAULT).plain()))
    assert load_recipe(resolved) == load_recipe(DEFAULT)


def test_a_recipe_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text("- 1\n")
    with pytest.raises(ConfigError, match="expected a mapping"):
        load_recipe(path)


def test_the_role_of_rendered_rooms_is_nothing_that_a_continuation_must_keep() -> None:
    held = "sources.held={render: {scenes: 3}, role: eval}"
    recipe, plain = load_recipe(DEFAULT, [held]), load_recipe(DEFAULT, ["sources.held={render: {scenes: 3}}"])
    assert recipe.sources["held"].role == "eval" and recipe.fingerprint() == plain.fingerprint()
