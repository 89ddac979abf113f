"""Recipes: strict reading, errors that teach, YAML 1.2 and `--set`."""

import datetime
import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError, field_validator

from vlm3.config import StrictModel, apply_overrides, dump_yaml, flatten, load_yaml
from vlm3.errors import ConfigError


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Source(StrictModel):
    weight: Annotated[float, Field(ge=0)] = 0.0
    uri: str | None = None


class Render(StrictModel):
    width_px: int = 8


class Train(StrictModel):
    steps: int
    rate: float = 1e-3

    @field_validator("rate")
    @classmethod
    def _check(cls, rate: float) -> float:
        if rate > 1:
            raise ValueError("rate above 1 diverges")
        return rate


class Recipe(StrictModel):
    sources: dict[str, Source]
    train: Train
    colour: Colour = Colour.RED
    sizes: tuple[int, ...] = ()
    parts: list[Source] = Field(default_factory=list)
    render: Render | None = None
    either: Source | Render | None = None


class Measured(Recipe):
    shares: dict[str, float] = Field(default_factory=dict)
    points: tuple[float, ...] = ()
    spans: list[tuple[Annotated[float, Field(ge=0)], float]] = Field(default_factory=list)


def minimal(**more: Any) -> dict[str, Any]:
    return {"sources": {}, "train": {"steps": 3}} | more


def test_plain_data_becomes_a_frozen_model() -> None:
    recipe = Recipe.parse(minimal(colour="blue", sizes=[1, 2], sources={"rooms": {"weight": 1}}), "r.yaml")
    assert recipe.colour is Colour.BLUE
    assert recipe.sizes == (1, 2)
    assert recipe.sources["rooms"].weight == 1.0
    with pytest.raises(ValidationError, match="frozen"):
        recipe.colour = Colour.RED  # type: ignore[misc]  # that it is refused is the test


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (minimal(surces={}), "unknown key 'surces'; did you mean 'sources'?"),
        (minimal(sources={"rooms": {"wieght": 1.0}}), "unknown key 'sources.rooms.wieght'; did you mean 'weight'?"),
        (minimal(parts=[{}, {"wieght": 1.0}]), "unknown key 'parts.1.wieght'; did you mean 'weight'?"),
        (minimal(render={"width": 9}), "unknown key 'render.width'; did you mean 'width_px'?"),
        (minimal(train={"stesp": 9}), "unknown key 'train.stesp'; did you mean 'steps'? (and 1 more)"),
        (minimal(render={"qqq": 9}), "unknown key 'render.qqq'; valid: width_px"),
        (minimal(either={"wieght": 1.0}), "unknown key 'either.Source.wieght'; did you mean 'weight'? (and 1 more)"),
    ],
)
def test_an_unknown_key_names_the_nearest_valid_one(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Recipe.parse(data, "r.yaml")
    assert str(caught.value) == f"r.yaml: {message}"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"sources": {}}, "train: Field required"),
        (minimal(train={"steps": "3"}), "train.steps: Input should be a valid integer, found '3'"),
        (minimal(train={"steps": 3.0}), "train.steps: Input should be a valid integer, found 3.0"),
        (minimal(train={"steps": True}), "train.steps: Input should be a valid integer, found True"),
        (minimal(train={"steps": 1, "rate": "1e-3"}), "train.rate: Input should be a valid number, found '1e-3'"),
        (minimal(train={"steps": 1, "rate": 2.0}), "train.rate: rate above 1 diverges, found 2.0"),
        (minimal(colour="green"), "colour: Input should be 'red' or 'blue', found 'green'"),
        (
            minimal(sources={"a": {"weight": -1}}),
            "sources.a.weight: Input should be greater than or equal to 0, found -1",
        ),
        ([], "(top): Input should be an object, found []"),
    ],
)
def test_a_wrong_value_says_where_it_is_and_what_was_expected(data: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Recipe.parse(data, "r.yaml")
    assert str(caught.value) == f"r.yaml: {message}"


def test_a_long_wrong_value_is_cut_short() -> None:
    with pytest.raises(ConfigError) as caught:
        Recipe.parse(minimal(train=["word"] * 1000), "r.yaml")
    assert len(str(caught.value)) < 200


def test_what_is_not_plain_data_is_refused() -> None:
    with pytest.raises(ConfigError, match="not plain YAML data: Object of type date"):
        Recipe.parse(minimal(colour=datetime.date(2026, 1, 1)), "r.yaml")
    loop: dict[str, Any] = {}
    loop["train"] = loop
    with pytest.raises(ConfigError, match="not plain YAML data: Circular"):
        Recipe.parse(loop, "r.yaml")


def test_numbers_are_those_of_yaml_1_2(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("a: 2e-5\nb: 1e-4\nc: .inf\nd: yes\ne: 012\nf: '2e-5'\n")
    assert load_yaml(file) == {"a": 2e-5, "b": 1e-4, "c": math.inf, "d": "yes", "e": 12, "f": "2e-5"}


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="ascii")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc.:- 1", max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(PLAIN)
def test_what_is_dumped_is_read_again(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    file = tmp_path_factory.getbasetemp() / "dumped.yaml"
    file.write_text(dump_yaml(data), encoding="utf-8")
    assert load_yaml(file) == data


@pytest.mark.parametrize("text", ["a: [1", "a: 1\na: 2\n", "\ta: 1", "!!python/object:os.system {}"])
def test_a_file_that_is_not_yaml_is_one_clear_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"r.yaml: cannot be read as YAML"):
        load_yaml(file)


def test_a_file_that_is_missing_or_binary_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.yaml: no such file; give the path of a YAML recipe"):
        load_yaml(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read as YAML"):
        load_yaml(tmp_path)
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read as YAML"):
        load_yaml(tmp_path / "b.yaml")


def test_assignments_reach_into_the_recipe_and_make_what_is_missing() -> None:
    data = minimal()
    assignments = [
        "train.steps=200",
        "train.rate=2e-5",
        "sources.new.weight=0.5",
        "colour=blue",
        "sizes=[1, 2]",
        "render=",
    ]
    changed = apply_overrides(data, assignments)
    assert changed == {
        "sources": {"new": {"weight": 0.5}},
        "train": {"steps": 200, "rate": 2e-5},
        "colour": "blue",
        "sizes": [1, 2],
        "render": None,
    }
    assert data == minimal(), "the data given must stay as it was"


def test_the_last_of_two_assignments_wins_and_values_may_hold_equal_signs() -> None:
    assert apply_overrides({}, ["a=1", "a=b=c"]) == {"a": "b=c"}


@pytest.mark.parametrize(
    ("assignment", "path"),
    [
        ('sources."a.b".weight=1', ["sources", "a.b", "weight"]),
        ("sources.'a.b'.weight=1", ["sources", "a.b", "weight"]),
        ('"a.b"=1', ["a.b"]),
        ('"a=b".c=1', ["a=b", "c"]),
        ('"it\'s".\'a "b"\'=1', ["it's", 'a "b"']),
        ("rooms/depth=1", ["rooms/depth"]),
        ("it's.b=1", ["it's", "b"]),
        (" a.b =1", ["a", "b"]),
    ],
)
def test_a_key_with_a_dot_stands_in_quotes(assignment: str, path: list[str]) -> None:
    node: Any = apply_overrides({}, [assignment])
    for key in path:
        (found,) = node
        assert found == key
        node = node[key]
    assert node == 1


NAMES = st.text(min_size=1).filter(lambda name: '"' not in name)


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_any_name_can_be_reached_in_quotes(names: list[str]) -> None:
    node: Any = apply_overrides({}, [".".join(f'"{name}"' for name in names) + "=x=y"])
    for name in names:
        node = node[name]
    assert node == "x=y"


def test_a_path_in_a_message_can_be_given_to_set() -> None:
    with pytest.raises(ConfigError, match=r'r.yaml: sources."a.b".weight: Input should be greater than or equal to 0'):
        Recipe.parse(minimal(sources={"a.b": {"weight": -1.0}}), "r.yaml")
    with pytest.raises(ConfigError, match=r'sources."a.b" is a value, it has no keys'):
        apply_overrides(minimal(sources={"a.b": 1}), ['sources."a.b".weight=1'])


@pytest.mark.parametrize("text", [".inf", "-.inf", ".nan", "1e999"])
@pytest.mark.parametrize("key", ["train.rate", "sources.rooms.weight", "shares.a", "points", "spans"])
def test_a_number_must_be_finite_wherever_it_stands(key: str, text: str) -> None:
    value = f"[[0, {text}]]" if key == "spans" else f"[1, {text}]" if key == "points" else text
    data = apply_overrides(minimal(sources={"rooms": {}}), [f"{key}={value}"])
    with pytest.raises(ConfigError, match=rf"r.yaml: {key.partition('.')[0]}.*finite number, found (-?inf|nan)"):
        Measured.parse(data, "r.yaml")


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("train.steps", "expected key.subkey=value"),
        ("=3", "expected key.subkey=value"),
        ("train..steps=3", "expected key.subkey=value"),
        ('sources."a.b=3', "a key with a dot or = in it stands in quotes"),
        ('sources."a.b"c=3', "a key with a dot or = in it stands in quotes"),
        ('sources."".c=3', "expected key.subkey=value"),
        (".steps=3", "expected key.subkey=value"),
        ("train.steps.more=3", "train.steps is a value, it has no keys"),
        ("train.steps=[1", "value is not YAML"),
    ],
)
def test_assignments_that_cannot_be_made_are_refused(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        apply_overrides(minimal(), [assignment])


def test_flattening_names_leaves_by_dotted_paths_and_keeps_what_is_empty() -> None:
    nested = {"a": {"b": 1, "c": {"d": [2]}}, "e": {}, "f.g": None}
    assert list(flatten(nested)) == [("a.b", 1), ("a.c.d", [2]), ("e", {}), ("f.g", None)]
