"""Shared-prefix answers equal those of the stock generate, one question at a time."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from vlm3.asking.text_model import Ending
from vlm3.infer import decode
from vlm3.infer.decode import greedy

Picture = Callable[[int, int, int], np.ndarray]
# Different lengths, so that rows are padded.
QUESTIONS = [
    *[f"Distance in metres at ({x}, {y}) of 100?" for x, y in ((3, 4), (50, 50), (99, 0), (7, 88), (81, 23))],
    "?",
    "How far is the wall, roughly, in metres, seen from here?",
]


def allowed(answers: list[str], stock: list[set[str]]) -> bool:
    return all(answer in likeliest for answer, likeliest in zip(answers, stock, strict=True))


def ask(asked: Any, image: np.ndarray, questions: list[str], max_new_tokens: int = 8, **more: Any) -> list[str]:
    return said(asked, [image], questions, max_new_tokens, **more)


def said(asked: Any, images: list[np.ndarray], questions: list[str], max_new_tokens: int = 8, **more: Any) -> list[str]:
    replies = greedy(asked.model, asked.encoder, asked.vision, images, questions, max_new_tokens=max_new_tokens, **more)
    return [reply.text for reply in replies]


@pytest.mark.floats
@pytest.mark.parametrize("size", [(112, 160), (32, 32), (160, 96), (64, 256)])
@pytest.mark.parametrize("which", ["untrained", "trained"])
def test_answers_equal_stock_generate_one_by_one(
    request: pytest.FixtureRequest, picture: Picture, which: str, size: tuple[int, int]
) -> None:
    asked, image = request.getfixturevalue(which), picture(*size, 5)
    answers = ask(asked, image, QUESTIONS)
    assert allowed(answers, asked.stock([image], QUESTIONS, 8))
    assert len(set(answers)) > 1


@pytest.mark.floats
@pytest.mark.parametrize("which", ["untrained", "trained"])
def test_answers_about_two_images_equal_stock_generate(
    request: pytest.FixtureRequest, picture: Picture, which: str
) -> None:
    asked, pair = request.getfixturevalue(which), [picture(64, 96, 1), picture(112, 48, 2)]
    answers = said(asked, pair, QUESTIONS)
    assert allowed(answers, asked.stock(pair, QUESTIONS, 8))
    swapped = said(asked, pair[::-1], QUESTIONS)
    assert (swapped != answers) or which == "trained", "trained on single images, it may not tell"


def test_trained_answers_end_by_themselves(trained: Any, picture: Picture) -> None:
    answers = ask(trained, picture(48, 64, 9), QUESTIONS[:5], max_new_tokens=16)
    assert all(len(answer) <= 4 and float(answer) >= 0 for answer in answers)


def test_an_answer_that_is_cut_is_told_from_one_that_ended(trained: Any, picture: Picture) -> None:
    def endings(most: int) -> list[tuple[str, Ending]]:
        replies = greedy(
            trained.model, trained.encoder, trained.vision, [picture(48, 64, 9)], QUESTIONS[:5], max_new_tokens=most
        )
        return [(reply.text, reply.ending) for reply in replies]

    whole = endings(16)
    assert {ending for _, ending in whole} == {Ending.ITSELF}
    assert {ending for _, ending in endings(1)} == {Ending.CUT}
    for most in range(2, 8):
        for (text, ending), (full, _) in zip(endings(most), whole, strict=True):
            assert full.startswith(text) and (ending is Ending.CUT or text == full)


@pytest.mark.floats
@pytest.mark.parametrize("which", ["untrained", "trained"])
def test_an_answer_does_not_depend_on_the_other_questions(
    request: pytest.FixtureRequest, picture: Picture, which: str
) -> None:
    asked, image = request.getfixturevalue(which), picture(112, 160, 1)
    stock = asked.stock([image], QUESTIONS, 8)
    assert allowed(ask(asked, image, QUESTIONS), stock)
    assert allowed(ask(asked, image, QUESTIONS[::-1]), stock[::-1])
    assert allowed([ask(asked, image, [question])[0] for question in QUESTIONS], stock)
    assert allowed(ask(asked, image, QUESTIONS * 20), stock * 20)


@pytest.mark.floats
def test_questions_beyond_the_cache_bound_wait_and_are_answered_alike(
    trained: Any, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = picture(48, 64, 2)
    stock, batches = trained.stock([image], QUESTIONS, 8), []
    forward = trained.model.forward

    def counted(**inputs: Any) -> Any:
        batches.append(inputs["input_ids"].shape[0])
        return forward(**inputs)

    monkeypatch.setattr(trained.model, "forward", counted)
    monkeypatch.setattr(decode, "MAX_CACHED_TOKENS", 200)
    assert allowed(ask(trained, image, QUESTIONS), stock)
    assert 1 <= max(batches) <= 200 // 30
    monkeypatch.setattr(decode, "MAX_CACHED_TOKENS", 1)
    assert allowed(ask(trained, image, QUESTIONS), stock)


def test_a_system_prompt_is_part_of_the_prefix(untrained: Any, picture: Picture) -> None:
    image = picture(32, 32, 3)
    with_system = ask(untrained, image, QUESTIONS[:3], system="Answer in metres.")
    assert with_system != ask(untrained, image, QUESTIONS[:3])


def test_model_is_left_as_it_was(untrained: Any, picture: Picture) -> None:
    model = untrained.model
    before = copy.deepcopy(model.state_dict())
    for mode in (True, False):
        model.train(mode)
        ask(untrained, picture(32, 48, 3), QUESTIONS[:2])
        assert model.training is mode
    assert all((before[name] == value).all() for name, value in model.state_dict().items())
    # Stale positions of an image would end up in the next training step.
    model.model.rope_deltas = None
    ask(untrained, picture(32, 48, 3), QUESTIONS[:2])
    assert model.model.rope_deltas is None


def test_no_questions_give_no_answers(untrained: Any, picture: Picture) -> None:
    assert ask(untrained, picture(32, 32, 0), []) == []
