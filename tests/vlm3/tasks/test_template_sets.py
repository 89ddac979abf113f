"""Wordings: those that ship, those of a user, and those that cannot be used."""

from pathlib import Path
from typing import Any

import pytest

from vlm3.asking.templates import load_templates, read_templates
from vlm3.config import dump_yaml
from vlm3.errors import ConfigError
from vlm3.geometry.depth import DepthKind
from vlm3.tasks.correspondence.templates import CorrespondenceTemplates
from vlm3.tasks.depth.task import DepthTask, DepthTaskConfig
from vlm3.tasks.depth.templates import DepthTemplates
from vlm3.tasks.pose.templates import PoseTemplates
from vlm3.tasks.template_sets import check_templates

OWN = {
    "name": "own",
    "version": 3,
    "system": "Be brief.",
    "depth": {"ray": ["Range at {x}/{y} of {n}, in metres?"], "z": ["Depth at {x}/{y} of {n}, in metres?"]},
}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(dump_yaml(OWN))
    return path


@pytest.mark.parametrize("name", ["vlm3-1", "compact-1"])
def test_shipped_sets_say_the_unit_and_the_range_and_what_is_measured(name: str) -> None:
    depth = load_templates(name).part(DepthTemplates)
    for wordings, words in ((depth.ray, ("far", "istance")), (depth.z, ("epth",))):
        assert len(set(wordings)) == len(wordings)
        for wording in wordings:
            assert "metre" in wording and any(word in wording for word in words)
            asked = wording.format(x=17, y=42, n=100)
            assert all(number in asked for number in ("17", "42", "100"))
    assert not set(depth.ray) & set(depth.z)


def test_the_full_set_varies_and_the_compact_set_is_short() -> None:
    full, compact = (load_templates(name).part(DepthTemplates) for name in ("vlm3-1", "compact-1"))
    assert len(full.ray) >= 3 and len(full.z) >= 2
    assert max(map(len, (*compact.ray, *compact.z))) < 45


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'compact-1'"):
        load_templates("compact1")
    with pytest.raises(ConfigError, match="did you mean 'vlm3-1'"):
        DepthTaskConfig(templates="vlm3")


def test_a_users_file_is_read_at_once_and_travels_with_the_configuration(own: Path) -> None:
    config = DepthTaskConfig.parse({"templates": str(own)}, "recipe")
    own.unlink()
    copied = DepthTaskConfig.parse(config.model_dump(mode="json"), "copy")
    assert copied == config
    task = DepthTask(copied)
    assert task.system == "Be brief."
    assert task.question((1, 1), (10, 10), 70.0) == "Range at 200/200 of 2000, in metres?"
    z = DepthTask(copied.model_copy(update={"depth_kind": DepthKind.Z}))
    assert z.question((1, 1), (10, 10), 70.0).startswith("Depth")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"depth": {"ray": OWN["depth"]["ray"]}}, r"depth\.z"),  # type: ignore[index] # OWN is plain YAML data
        ({"system": ...}, "system"),
        ({"version": 0}, "version"),
        ({"wordings": []}, "wordings"),
        ({"depth": {"ray": [], "z": ["{x} {y} {n}"]}}, r"depth\.ray"),
        ({"depth": {"ray": ["{x} {y}"], "z": ["{x} {y} {n}"]}}, r"must use the fields .*\['x', 'y'\]"),
        ({"depth": {"ray": ["{x} {y} {n} {k}"], "z": ["{x} {y} {n}"]}}, "must use the fields .*'k'"),
        ({"depth": {"ray": ["{x.real} {y} {n}"], "z": ["{x} {y} {n}"]}}, "must use the fields"),
        ({"depth": {"ray": ["{x} {y} {n"], "z": ["{x} {y} {n}"]}}, "expected '}'"),
    ],
)
def test_a_set_that_cannot_be_used_is_refused_by_field(own: Path, change: dict[str, object], named: str) -> None:
    changed = {key: value for key, value in (OWN | change).items() if value is not ...}
    own.write_text(dump_yaml(changed))
    with pytest.raises(ConfigError, match=named) as caught:
        check_templates(read_templates(own))
    assert str(own) in str(caught.value)


def test_a_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        DepthTaskConfig(templates=str(tmp_path / "none.yaml"))


@pytest.mark.parametrize("answer", ["({y}, {x})", "y={y} x={x}", "({x}, {y}", "{x}"])
def test_an_answer_that_would_not_be_read_as_what_it_says_is_refused(own: Path, answer: str) -> None:
    correspondence = {"questions": ["where is {x} {y} of {n}?"], "answer": answer}
    own.write_text(dump_yaml(OWN | {"correspondence": correspondence}))
    with pytest.raises(ConfigError, match="correspondence"):
        check_templates(read_templates(own))
    own.write_text(dump_yaml(OWN | {"correspondence": correspondence | {"answer": "{x}, {y}"}}))
    assert read_templates(own).part(CorrespondenceTemplates)


POSE = {
    "angle": {"questions": ["Turned by?"], "answer": "{degrees:.1f} degrees"},
    "turns": {"questions": ["Turned?"], "answer": "Yaw: {yaw:.1f}, Pitch: {pitch:.1f}, Roll: {roll:.1f}"},
    "direction": {"questions": ["Moved?"], "answer": "{words}: ({x:.2f}, {y:.2f}, {z:.2f})"},
    "distance": {"questions": ["Moved by?"], "answer": "{metres:.2f} m"},
}


@pytest.mark.parametrize(
    ("part", "answer", "why"),
    [
        ("angle", "{degrees:.1f} gon", "cannot be read: unknown unit 'gon'"),
        ("angle", "{angle:.1f}", r"must use the fields \{degrees\}"),
        ("turns", "{yaw:.1f} {pitch:.1f} {roll:.1f}", "cannot be read: expected 'yaw"),
        ("turns", "yaw {pitch:.1f}, pitch {yaw:.1f}, roll {roll:.1f}", "which reads as YawPitchRoll"),
        ("direction", "{words} ({x:.2f}, {z:.2f}, {y:.2f})", "contradicts|which reads as"),
        ("distance", "{metres:.2f} cm", "which reads as 0.02"),
    ],
)
def test_an_answer_that_would_not_read_back_is_refused(own: Path, part: str, answer: str, why: str) -> None:
    own.write_text(dump_yaml(OWN | {"pose": POSE}))
    assert read_templates(own).part(PoseTemplates)
    own.write_text(dump_yaml(OWN | {"pose": POSE | {part: POSE[part] | {"answer": answer}}}))
    with pytest.raises(ConfigError, match=rf"(?s)pose.*({why})"):
        check_templates(read_templates(own))


FOREIGN = OWN | {
    "answer_tags": ["<answer>", "</answer>"],
    "think_tags": ["<think>", "</think>"],
    "thousands": True,
    "depth": OWN["depth"] | {"answer": "{metres:,.1f} meters", "pattern": r"(?P<value>[0-9.,]+) (?P<unit>m\w*)"},  # type: ignore[operator] # OWN is plain YAML data
}


def test_a_set_for_a_checkpoint_trained_elsewhere_is_read_and_travels(own: Path) -> None:
    own.write_text(dump_yaml(FOREIGN))
    config = DepthTaskConfig.parse({"templates": str(own)}, "recipe")
    assert DepthTaskConfig.parse(config.model_dump(mode="json"), "copy") == config
    task = DepthTask(config)
    assert task.read("<think>2 m?</think> <answer>It is 1,234.5 meters.</answer>") == 1234.5


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"answer_tags": ["<a>"]}, "answer_tags"),
        ({"answer_tags": ["", "</a>"]}, "answer_tags.0"),
        ({"answer_tags": ["<a>", "<a>"]}, "told apart"),
        ({"think_tags": ["<t>", "</answer>"]}, "told apart"),
        ({"answer_tags": ["met", "ric"]}, "answer '.*' holds the tag 'met'"),
        ({"thousands": False}, r"depth\.answer gives '3,000.0 meters': set thousands: true"),
        ({"depth": {"answer": "{meters}"}}, r"depth: .*must use the fields \{metres\}"),
        ({"depth": {"answer": "{metres} gon", "pattern": None}}, "cannot be read: unknown unit 'gon'"),
        ({"depth": {"pattern": "(?P<value>[0-9"}}, r"depth\.pattern: not a regular expression"),
        ({"depth": {"pattern": "[0-9.]+"}}, "must have the named groups value and may have unit"),
        ({"depth": {"pattern": "(?P<value>[0-9]+) (?P<units>m)"}}, "must have the named groups"),
        (
            {"depth": {"pattern": "about (?P<value>[0-9.]+)"}},
            "gives '2.0 meters', which cannot be read: expected one match",
        ),
        ({"depth": {"pattern": "(?P<value>[0-9.]+) (?P<unit>meters)"}}, "gives '3,000.0 meters', which cannot be read"),
        ({"depth": {"pattern": "(?P<value>[0-9])"}}, "which cannot be read"),
        ({"depth": {"pattern": "x" * 401}}, r"depth\.pattern"),
        ({"depth": {"marker": {"ray": ["{x} {y} of {n}"], "z": ["?"]}}}, "depth.marker: .*must use no field"),
    ],
)
def test_a_form_of_answer_that_cannot_work_is_refused(own: Path, change: dict[str, Any], why: str) -> None:
    changed = {key: FOREIGN[key] | value if isinstance(value, dict) else value for key, value in change.items()}  # type: ignore[operator]
    own.write_text(dump_yaml(FOREIGN | changed))
    with pytest.raises(ConfigError, match=f"(?s){why}"):
        check_templates(read_templates(own))


@pytest.mark.parametrize(
    ("part", "change", "why"),
    [
        ("angle", {"pattern": "(?P<angle>[0-9.]+)"}, "must have the named groups degrees;"),
        ("turns", {"pattern": "(?P<yaw>[0-9.]+)"}, "must have the named groups pitch, roll, yaw;"),
        ("turns", {"questions": ["Turned at {focal}?"]}, "must use no field"),
        ("direction", {"pattern": r"\((?P<x>\S+), (?P<y>\S+), (?P<z>\S+)\) (?P<words>.*)"}, "cannot be read"),
        ("distance", {"answer": "{metres:,.1f} m"}, r"pose\.distance\.answer gives '3,000.0 m': set thousands: true"),
    ],
)
def test_patterns_of_poses_are_checked_too(own: Path, part: str, change: dict[str, Any], why: str) -> None:
    own.write_text(dump_yaml(OWN | {"pose": POSE | {part: POSE[part] | change}}))
    with pytest.raises(ConfigError, match=rf"(?s)pose.*{why}"):
        check_templates(read_templates(own))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"width": "{metres:,.1f} m"}, r"objects\.width\.answer gives '3,000.0 m': set thousands: true"),
        ({"height": "{metres:.1f} meters"}, "answer '{metres:.1f} meters' holds the tag 'meters'"),
    ],
)
def test_answers_about_objects_are_checked_too(own: Path, change: dict[str, str], why: str) -> None:
    objects = load_templates("compact-1").parts()["objects"]
    changed = {part: objects[part] | {"answer": answer} for part, answer in change.items()}
    own.write_text(dump_yaml(OWN | {"answer_tags": ["meters", "</a>"], "objects": objects}))
    check_templates(read_templates(own))
    own.write_text(dump_yaml(OWN | {"answer_tags": ["meters", "</a>"], "objects": objects | changed}))
    with pytest.raises(ConfigError, match=why):
        check_templates(read_templates(own))


def test_a_direction_may_be_a_vector_alone_and_a_distance_name_the_focal_length(own: Path) -> None:
    direction = {"questions": ["Moved?"], "answer": "({x:.2f}, {y:.2f}, {z:.2f})"}
    distance = {"questions": ["Moved by? f = {focal}"], "answer": "{metres:.0f}"}
    own.write_text(dump_yaml(OWN | {"pose": POSE | {"direction": direction, "distance": distance}}))
    assert read_templates(own).part(PoseTemplates)


def test_the_set_shown_in_the_guide_can_be_used(own: Path) -> None:
    guide = (Path(__file__).parents[3] / "docs" / "recipes.md").read_text(encoding="utf-8")
    (block,) = [part for part in guide.split("```yaml\n") if part.startswith("name: theirs")]
    own.write_text(block.partition("```")[0], encoding="utf-8")
    task = DepthTask(DepthTaskConfig(templates=str(own)))
    assert task.names_focal
    assert task.read("<think>Far.</think><answer>It is 1,234.50 meters away.</answer>") == 1234.5
