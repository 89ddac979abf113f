"""Cross entropy on answer tokens, as a sum: the engine divides by the answer tokens of the whole step."""

from collections.abc import Mapping
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
    """(1, L) bool: position t is true where token t + 1 belongs to an answer, so that its logits are scored.

    Rows stand one after the other; the first label of each is ignored, so no row predicts the next one.
    """
    positions = torch.zeros_like(labels, dtype=torch.bool)
    positions[:, :-1] = labels[:, 1:] != IGNORED_LABEL
    return positions


def count_answer_tokens(labels: torch.Tensor) -> int:
    """How many tokens of (1, L) labels are scored. The first never is: nothing precedes it."""
    return int((labels[:, 1:] != IGNORED_LABEL).sum())


class AnswerLoss(NamedTuple):
    """Cross entropy of the answer tokens of one micro-batch, in fp32."""

    total: torch.Tensor
    """Scalar sum over all answer tokens, with gradient."""
    rows: torch.Tensor
    """(B,) sum over the answer tokens of each row, without gradient."""
    tokens: torch.Tensor
    """(B,) number of answer tokens of each row."""


def answer_loss(model: CausalModel, inputs: Mapping[str, Any]) -> AnswerLoss:
    """Cross entropy of the answer tokens of one micro-batch, of inputs as `ModelBatch.to_model_inputs` gives them.

    Only the positions that predict an answer token go through the language head: with 150 000 words in the vocabulary
    the logits of a whole sequence would be larger than all activations together.
    """
    labels = inputs["labels"]
    scored = predicting_positions(labels)
    others = {name: value for name, value in inputs.items() if name != "labels"}
    # A boolean mask makes the stock model return the logits of the true positions only, as (N, V).
    logits = model(**others, logits_to_keep=scored, use_cache=False).logits
    losses = cross_entropy(logits.float(), labels[:, 1:][scored[:, :-1]], reduction="none")
    borders = inputs["cu_seq_lens_q"].long()
    row = torch.bucketize(scored.nonzero()[:, 1].contiguous(), borders[1:], right=True)
    rows = torch.zeros(len(borders) - 1, device=losses.device).index_add(0, row, losses.detach())
    return AnswerLoss(losses.sum(), rows, torch.bincount(row, minlength=len(rows)))
