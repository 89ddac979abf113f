"""Shared-prefix answers equal those of the stock generate, one question at a time."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from vlm3.asking.number_form import NumberForm
from vlm3.asking.text_model import Ending
from vlm3.infer import engine
from vlm3.infer.engine import Engine
from vlm3.infer.prefix import PrefixCache
from vlm3.tokens.patches import patchify

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
    replies = Engine(asked.model, asked.encoder, asked.vision).answer(
        images, questions, max_new_tokens=max_new_tokens, **more
    )
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
        asks = Engine(trained.model, trained.encoder, trained.vision)
        replies = asks.answer([picture(48, 64, 9)], QUESTIONS[:5], max_new_tokens=most)
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
@pytest.mark.parametrize(("rows", "rooms", "largest"), [(3, 1, 3), (256, 3, 3), (256, 0, 1)])
def test_questions_beyond_a_bound_wait_and_are_answered_alike(
    trained: Any, picture: Picture, monkeypatch: pytest.MonkeyPatch, rows: int, rooms: int, largest: int
) -> None:
    image, mixed = picture(48, 64, 2), QUESTIONS * 3
    own = max(len(trained.encoder.question_ids(question)) for question in mixed) + 8
    monkeypatch.setattr(engine, "CHUNK_ROWS", rows)
    monkeypatch.setattr(engine, "CHUNK_TOKENS", own * rooms if rows == 256 else 1 << 14)
    asks = Engine(trained.model, trained.encoder, trained.vision)
    chunks = list(asks.chunks([image], mixed, max_new_tokens=8))
    assert max(map(len, chunks)) == largest
    said = [reply.text for chunk in chunks for reply in chunk]
    assert allowed(said, trained.stock([image], QUESTIONS, 8) * 3)


@pytest.mark.floats
@pytest.mark.parametrize("which", ["untrained", "trained"])
def test_questions_that_begin_alike_share_what_they_begin_with(
    request: pytest.FixtureRequest, picture: Picture, which: str
) -> None:
    asked, image = request.getfixturevalue(which), picture(112, 160, 4)
    alike = QUESTIONS[:5]
    # One of them is where another begins: a token of it is left to its row.
    for questions in (alike, [*alike, alike[0][:-5]], [alike[0]] * 3):
        assert allowed(ask(asked, image, questions), asked.stock([image], questions, 8))


@pytest.mark.floats
def test_images_that_were_asked_about_are_not_read_again(trained: Any, picture: Picture) -> None:
    seen, cache = [], PrefixCache(1 << 24)
    handle = trained.model.model.visual.register_forward_hook(lambda *_: seen.append(1))
    asks = Engine(trained.model, trained.encoder, trained.vision, cache)
    first, second = picture(48, 64, 2), picture(48, 64, 3)

    def texts(image: np.ndarray, questions: list[str], **more: Any) -> list[str]:
        return [reply.text for reply in asks.answer([image], questions, max_new_tokens=8, **more)]

    try:
        answers = [
            texts(image, questions)
            for image in (first, second, first.copy(), second)
            for questions in (QUESTIONS, QUESTIONS[:1])
        ]
        assert len(seen) == 2 and cache.hits == 6
        texts(first, QUESTIONS[:1], system="Answer in feet.")
        assert len(seen) == 3, "another text before the question is another state"
    finally:
        handle.remove()
    for image, (all_of_them, one) in zip(
        (first, second) * 2, zip(answers[::2], answers[1::2], strict=True), strict=True
    ):
        stock = trained.stock([image], QUESTIONS, 8)
        assert allowed(all_of_them, stock) and allowed(one, stock[:1])


def test_between_chunks_the_model_is_the_stock_one(
    trained: Any, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = trained.model.train()
    monkeypatch.setattr(engine, "CHUNK_ROWS", 2)
    stock = model.config.text_config._attn_implementation
    for _ in Engine(model, trained.encoder, trained.vision).chunks([picture(48, 64, 2)], QUESTIONS, max_new_tokens=4):
        assert model.training and not torch.is_inference_mode_enabled()
        assert model.config.text_config._attn_implementation == stock
    model.eval()


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


@pytest.mark.floats
def test_the_numbers_it_may_have_answered_have_the_models_probabilities(trained: Any, picture: Picture) -> None:
    image = picture(48, 64, 9)
    asks, form = Engine(trained.model, trained.encoder, trained.vision), NumberForm("", 1)
    told = asks.answer([image], QUESTIONS, max_new_tokens=8, form=form)
    assert allowed([reply.text for reply in told], trained.stock([image], QUESTIONS, 8)), "the answers are the same"
    sizes = [image.shape[:2]]
    pixel_values, grid = patchify([torch.from_numpy(image)], trained.vision)
    several = 0
    for question, reply in zip(QUESTIONS, told, strict=True):
        assert reply.spread is not None
        several += len(reply.spread.values) > 10
        prompt = trained.encoder.encode_question(question, sizes).tolist()
        for value, probability in zip(reply.spread.values, reply.spread.probabilities, strict=True):
            if probability < 0.01:
                continue
            answer = trained.encoder.text_ids(f"{value:.1f}")
            ids = torch.tensor([prompt + answer])
            visual = (ids == trained.vision.image_token_id).int()
            positions, _ = trained.model.model.get_rope_index(ids, visual, image_grid_thw=grid)
            with torch.inference_mode():
                logits = trained.model.eval()(
                    input_ids=ids,
                    position_ids=positions,
                    mm_token_type_ids=visual,
                    pixel_values=pixel_values,
                    image_grid_thw=grid,
                ).logits[0]
            said = logits[len(prompt) - 1 : -1].log_softmax(-1)[torch.arange(len(answer)), answer]
            assert probability == pytest.approx(float(said.sum().exp()), rel=1e-3)
        if reply.spread.probabilities.max(initial=0) > 0.5:
            assert float(reply.text) == pytest.approx(reply.spread.values[reply.spread.probabilities.argmax()])
    assert several >= 2, "the model is not sure of all"


def test_without_a_form_nothing_is_said_about_other_numbers(trained: Any, picture: Picture) -> None:
    (reply,) = Engine(trained.model, trained.encoder, trained.vision).answer(
        [picture(48, 64, 9)], QUESTIONS[:1], max_new_tokens=8
    )
    assert reply.spread is None
