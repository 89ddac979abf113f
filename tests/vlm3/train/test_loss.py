from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vlm3.tokens.batch import IGNORED_LABEL
from vlm3.train.loss import answer_loss, count_answer_tokens, predicting_positions

LENGTH = 9
"""Tokens of a row."""


class Projection(torch.nn.Module):
    """A causal model in the small: embeds tokens, and scores only the positions asked for."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = torch.nn.Embedding(11, 7)
        self.head = torch.nn.Linear(7, 11)
        self.scored = -1

    def forward(self, input_ids: torch.Tensor, logits_to_keep: torch.Tensor, use_cache: bool, **_: Any) -> Any:
        assert not use_cache
        hidden = self.embedding(input_ids)[logits_to_keep]
        self.scored = len(hidden)
        return SimpleNamespace(logits=self.head(hidden))


def batch(answers: list[list[int]]) -> dict[str, torch.Tensor]:
    """Rows of nine tokens with answers at the given places, joined."""
    ids = torch.arange(len(answers) * LENGTH)[None] % 11
    labels = torch.full_like(ids, IGNORED_LABEL)
    for row, places in enumerate(answers):
        for place in places:
            labels[0, row * LENGTH + place] = ids[0, row * LENGTH + place]
    borders = torch.arange(len(answers) + 1, dtype=torch.int32) * LENGTH
    return {"input_ids": ids, "labels": labels, "cu_seq_lens_q": borders}


def alone(inputs: dict[str, torch.Tensor], row: int) -> dict[str, torch.Tensor]:
    """One row of a batch."""
    inside = slice(row * LENGTH, (row + 1) * LENGTH)
    borders = torch.tensor([0, LENGTH], dtype=torch.int32)
    return {
        "input_ids": inputs["input_ids"][:, inside],
        "labels": inputs["labels"][:, inside],
        "cu_seq_lens_q": borders,
    }


def test_the_position_before_an_answer_token_predicts_it() -> None:
    labels = batch([[3, 4, 8], [1]])["labels"]
    assert predicting_positions(labels).nonzero().tolist() == [[0, 2], [0, 3], [0, 7], [0, 9]]
    assert count_answer_tokens(labels) == 4


def test_the_first_token_is_never_an_answer() -> None:
    labels = batch([[0, 5]])["labels"]
    assert count_answer_tokens(labels) == 1 == int(predicting_positions(labels).sum())


@pytest.mark.floats
def test_it_sums_the_log_probabilities_of_the_answers() -> None:
    inputs = batch([[3, 4], [8]])
    model = Projection()
    loss = answer_loss(model, inputs).total
    logits = model.head(model.embedding(inputs["input_ids"])).log_softmax(-1)
    ids = inputs["input_ids"]
    expected = -sum(logits[0, at - 1, ids[0, at]] for at in (3, 4, LENGTH + 8))
    assert torch.allclose(loss, torch.as_tensor(expected))
    assert model.scored == 3


@pytest.mark.floats
def test_sums_of_parts_add_up_to_the_whole() -> None:
    inputs = batch([[3, 4], [8, 7, 6]])
    model = Projection()
    parts = [answer_loss(model, alone(inputs, row)).total for row in (0, 1)]
    assert torch.allclose(sum(parts, torch.zeros(())), answer_loss(model, inputs).total)


def test_a_micro_batch_without_answers_adds_nothing_but_can_be_differentiated() -> None:
    model = Projection()
    loss = answer_loss(model, batch([[], []]))
    loss.total.backward()
    assert loss.total.item() == 0
    assert loss.rows.tolist() == loss.tokens.tolist() == [0, 0]
    assert model.head.weight.grad is not None
    assert model.head.weight.grad.abs().sum() == 0


@pytest.mark.floats
def test_bf16_logits_are_scored_in_fp32() -> None:
    loss = answer_loss(Projection().to(torch.bfloat16), batch([[3], [4]])).total
    assert loss.dtype is torch.float32
    assert loss.item() == pytest.approx(answer_loss(Projection(), batch([[3], [4]])).total.item(), rel=0.02)


@pytest.mark.floats
def test_the_rows_share_the_loss_among_them() -> None:
    # The last token of a row and the second of the next: as near to a border as an answer comes.
    inputs, model = batch([[3, 8], [], [1, 7, 6]]), Projection()
    loss = answer_loss(model, inputs)
    own = [answer_loss(model, alone(inputs, row)).total for row in range(3)]
    assert torch.allclose(loss.rows, torch.stack(own)) and not loss.rows.requires_grad
    assert loss.tokens.tolist() == [2, 0, 3]
