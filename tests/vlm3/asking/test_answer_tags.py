"""Tags around answers: written for training, taken off for reading."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm3.asking.answer_tags import check_tags, extracted, wrapped
from vlm3.asking.protocol import ParseFailure

ANSWER, THINK = ("<answer>", "</answer>"), ("<think>", "</think>")
PLAIN = st.text(st.characters(exclude_characters="<", exclude_categories=["Cs"]), max_size=20)


@given(PLAIN, PLAIN, PLAIN)
def test_the_inside_of_the_answer_is_read_whatever_stands_around_it(answer: str, thought: str, around: str) -> None:
    assert wrapped(answer, ANSWER) == f"<answer>{answer}</answer>" and wrapped(answer, None) == answer
    assert extracted(wrapped(answer, ANSWER), ANSWER, THINK) == answer
    thinking = f"<think>{thought} <answer>1</answer></think>"
    assert extracted(f"{thinking}{around}{wrapped(answer, ANSWER)}{around}", ANSWER, THINK) == answer
    assert extracted(f"{thinking}{answer}", None, THINK).strip() == answer.strip()
    assert extracted(answer, None, None) == answer


@pytest.mark.parametrize(
    "text",
    [
        "2.5",
        "<answer>2.5",
        "2.5</answer>",
        "</answer>2.5<answer>",
        "<answer>2.5</answer> or <answer>2.6</answer>",
        "<answer><answer>2.5</answer></answer>",
        "<answer>2.5</answer></answer>",
        "<answer><answer>2.5</answer>",
        "<think>so <answer>2.5</answer>",
        "so</think><answer>2.5</answer>",
        "<think>a<think>b</think></think><answer>2.5</answer>",
        "<think>a</think></think><answer>2.5</answer>",
        "<answer>2.5<think></answer></think>",
        "<ANSWER>2.5</ANSWER>",
    ],
)
def test_tags_that_are_missing_open_or_doubled_are_a_failure(text: str) -> None:
    with pytest.raises(ParseFailure):
        extracted(text, ANSWER, THINK)


def test_a_thought_within_a_number_does_not_join_its_halves() -> None:
    assert extracted("2<think>hm</think>5", None, THINK) == "2\n5"


@pytest.mark.parametrize(
    ("answer", "think"),
    [(("[a]", "[a]"), None), (("<a", "<a>"), None), (ANSWER, ("<think>", "</answer>")), ((" ", "</a>"), None)],
)
def test_tags_that_cannot_be_told_apart_are_refused(answer: tuple[str, str], think: tuple[str, str] | None) -> None:
    with pytest.raises(ValueError, match=r"tag.* of answer_tags"):
        check_tags(answer, think)
    check_tags(ANSWER, THINK)
