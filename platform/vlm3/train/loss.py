"""Cross entropy on answer tokens, as a sum: the engine divides by the answer tokens of the whole step."""

from typing import Any, NamedTuple, Protocol

import torch
from torch.nn.functional import cross_entropy

from vlm3.tokens.batch import IGNORED_LABEL


class CausalModel(Protocol):
    """A Hugging Face causal language model, or an engine that wraps one."""

    def __call__(self, **inputs: Any) -> Any:
        """Outputs with `.logits`."""
        ...


def predicting_positions(labels: torch.Tensor) -> torch.Tensor:
    """(B, L) bool: true at position t if token t + 1 belongs to an answer, so that the logits at t are scored."""
    positions = torch.zeros_like(labels, dtype=torch.bool)
    positions[:, :-1] = labels[:, 1:] != IGNORED_LABEL
    return positions


def count_answer_tokens(labels: torch.Tensor) -> int:
    """Number of tokens of (B, L) labels that are scored; the first of a row never is, since nothing precedes it."""
    return int((labels[:, 1:] != IGNORED_LABEL).sum())


class AnswerLoss(NamedTuple):
    """Cross entropy of the answer tokens of one micro-batch, in fp32."""

    total: torch.Tensor
    """Scalar sum over all answer tokens, with gradient."""
    rows: torch.Tensor
    """(B,) sum over the answer tokens of each row, without gradient."""
    tokens: torch.Tensor
    """(B,) number of answer tokens of each row."""


def answer_loss(model: CausalModel, inputs: dict[str, torch.Tensor]) -> AnswerLoss:
    """Cross entropy of the answer tokens of one micro-batch.

    Only the positions that predict an answer token go through the language head: with 150 000 words in the vocabulary
    the logits of a whole sequence would be larger than all activations together.
    """
    labels = inputs["labels"]
    scored = predicting_positions(labels)
    others = {name: value for name, value in inputs.items() if name != "labels"}
    # A boolean mask makes the stock model return the logits of the true positions only, as (N, V).
    logits = model(**others, logits_to_keep=scored, use_cache=False).logits
    losses = cross_entropy(logits.float(), labels[:, 1:][scored[:, :-1]], reduction="none")
    row = scored.nonzero()[:, 0]
    rows = torch.zeros(len(labels), device=losses.device).index_add(0, row, losses.detach())
    return AnswerLoss(losses.sum(), rows, scored.sum(1))
