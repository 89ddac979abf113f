"""Wordings of the object questions: those that ship, and those that cannot be used."""

from copy import deepcopy
from typing import Any

import pytest

from vlm3.asking.object_questions import Relation
from vlm3.asking.templates import load_templates
from vlm3.errors import ConfigError
from vlm3.tasks.objects.templates import ObjectTemplates, ObjectWordings, Relations

OWN: dict[str, Any] = {
    "region": "[{x0} {y0} {x1} {y1}]",
    "predicate": {"questions": ["{first} {relation} {second} of {n}?"], "relations": {name: name for name in Relation}},
    "choice": {
        "questions": ["{first} or {second} of {n}: {relation}?"],
        "relations": {name: f"most {name}" for name in Relation},
        "answer": "region {number}",
    },
    "distance": {"questions": ["{first} {second} {n}"], "answer": "{metres:.1f} m"},
    "horizontal_distance": {"questions": ["{first} {second} {n}"], "answer": "{metres:.1f} m"},
    "vertical_distance": {"questions": ["{first} {second} {n}"], "answer": "{metres:.1f} m"},
    "width": {"questions": ["{first} {n}"], "answer": "{metres:.1f} m"},
    "height": {"questions": ["{first} {n}"], "answer": "{metres:.1f} m"},
    "direction": {"questions": ["{first} {second} {n}"], "answer": "{hour} o'clock"},
}


def shipped(name: str) -> ObjectTemplates:
    objects = load_templates(name).part(ObjectTemplates)
    assert objects is not None
    return objects


def wordings(objects: ObjectTemplates) -> list[ObjectWordings]:
    return [part for _, part in objects if isinstance(part, ObjectWordings)]


def test_every_relation_has_a_word() -> None:
    assert set(Relations.model_fields) == set(Relation)


@pytest.mark.parametrize("name", ["vlm3-1", "compact-1"])
def test_shipped_sets_say_what_is_asked_in_different_words(name: str) -> None:
    parts = wordings(shipped(name))
    questions = [question for part in parts for question in part.questions]
    assert len(parts) == 8 and len(set(questions)) == len(questions)
    for part in (shipped(name).distance, shipped(name).width, shipped(name).vertical_distance):
        assert all("metres" in question for question in part.questions)


def test_the_full_set_varies_and_the_compact_set_is_short() -> None:
    full, compact = wordings(shipped("vlm3-1")), wordings(shipped("compact-1"))
    assert min(len(part.questions) for part in full) >= 2
    assert max(len(question) for part in compact for question in part.questions) < 45
    # The regions close the question, before the answer.
    assert all(question.endswith(("{first} {second}", "{first}")) for part in compact for question in part.questions)


@pytest.mark.parametrize(
    ("part", "change", "why"),
    [
        ("region", "{x0} {y0} {x1}", r"must use the fields \{x0\} \{x1\} \{y0\} \{y1\}"),
        ("predicate", {"questions": ["{first} {second} {n}?"]}, r"must use the fields .*\{relation\}"),
        ("predicate", {"questions": []}, r"predicate\.questions"),
        ("predicate", {"relations": dict.fromkeys(Relation, "like")}, "relations must differ"),
        ("choice", {"answer": "region {n}"}, r"must use the fields \{number\}"),
        ("choice", {"answer": "number {number}"}, "cannot be read: expected 'region 1'"),
        ("width", {"questions": ["{first} {second} {n}"]}, r"must use the fields \{first\} \{n\}"),
        ("distance", {"questions": ["{first} {n}"]}, r"must use the fields \{first\} \{n\} \{second\}"),
        ("height", {"answer": "{metres:.1f} cm"}, "reads as 0.025"),
        ("direction", {"answer": "{hour}:00"}, "cannot be read: expected an hour"),
        ("direction", {"answer": "1{hour}"}, "which reads as 11"),
    ],
)
def test_wordings_that_cannot_be_used_are_refused(part: str, change: Any, why: str) -> None:
    assert ObjectTemplates.parse(OWN, "own").region
    own = deepcopy(OWN)
    own[part] = own[part] | change if isinstance(change, dict) else change
    with pytest.raises(ConfigError, match=f"(?s){why}"):
        ObjectTemplates.parse(own, "own")
