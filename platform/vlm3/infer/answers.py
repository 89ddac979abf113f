"""Which rows of a chunk go on with which token: the greedy answers, and the trees of the numbers they may state."""

import numpy as np
import torch
from numpy.typing import NDArray

from vlm3.asking.text_model import Ending, Reply
from vlm3.infer.number_tree import FormTokens, NumberTree
from vlm3.tokens.encode import ConversationEncoder

NONE = -1


class Answers:
    """The answers to the questions of a chunk while they are written.

    A row is the greedy answer to a question, a node of its tree, or both: the greedy answer is mostly the likeliest way
    through the tree.
    """

    def __init__(self, questions: int, stops: set[int], form: FormTokens | None) -> None:
        every = np.arange(questions)
        self._stops = np.array(sorted(stops))
        self._tree = None if form is None else NumberTree(form, questions)
        self._said: list[list[int]] = [[] for _ in range(questions)]
        self._ended = np.zeros(questions, bool)
        self._greedy: NDArray[np.int64] = every
        """(rows,) the question that a row answers greedily, or NONE."""
        self._node: NDArray[np.int64] = every if self._tree else every * 0 + NONE
        """(rows,) the node that a row is at, or NONE."""

    def go_on(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Read what the model says after each row.

        Args:
            logits: (rows, vocabulary).

        Returns:
            (children,) the rows that go on, some of them several times, and the token of each.
        """
        likeliest = logits.argmax(-1).cpu().numpy()
        answering = np.flatnonzero(self._greedy != NONE)
        questions, words = self._greedy[answering], likeliest[answering]
        for question, word in zip(questions.tolist(), words.tolist(), strict=True):
            self._said[question].append(word)
        stopped = np.isin(words, self._stops)
        self._ended[questions[stopped]] = True
        parents, tokens, questions = answering[~stopped], words[~stopped], questions[~stopped]
        nodes = np.full(len(parents), NONE)
        if self._tree is not None:
            tree_parents, tree_tokens = self._grow(self._tree, logits)
            # A child of the tree that is the greedy answer too is one row.
            width = logits.shape[1]
            ways = tree_parents * width + tree_tokens
            order = np.argsort(ways)
            place = np.searchsorted(ways, parents * width + tokens, sorter=order)
            both = np.zeros(len(parents), bool)
            if len(ways):
                place = order[np.minimum(place, len(ways) - 1)]
                both = ways[place] == parents * width + tokens
            tree_questions = np.full(len(ways), NONE)
            tree_questions[place[both]] = questions[both]
            parents = np.concatenate([tree_parents, parents[~both]])
            tokens = np.concatenate([tree_tokens, tokens[~both]])
            questions = np.concatenate([tree_questions, questions[~both]])
            nodes = np.concatenate([np.arange(len(ways)), nodes[~both]])
        self._greedy, self._node = questions, nodes
        return torch.from_numpy(parents).to(logits.device), torch.from_numpy(tokens).to(logits.device)

    def _grow(self, tree: NumberTree, logits: torch.Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Parents, as rows, and tokens of the next level."""
        at = np.flatnonzero(self._node != NONE)
        row_of_node = at[np.argsort(self._node[at])]
        ids = tree.slot_ids()
        scores = logits[torch.from_numpy(row_of_node).to(logits.device)].float()
        chosen = scores[:, torch.from_numpy(ids).to(logits.device)] - scores.logsumexp(-1, keepdim=True)
        parents, slots = tree.grow(chosen.exp().cpu().numpy().astype(np.float64))
        return row_of_node[parents], ids[slots]

    def rows_are(self, order: torch.Tensor) -> None:
        """The children have become rows, in this order."""
        placed = order.cpu().numpy()
        self._greedy, self._node = self._greedy[placed], self._node[placed]

    def replies(self, encoder: ConversationEncoder) -> list[Reply]:
        """The answers as far as they were written."""
        spreads = [None] * len(self._said) if self._tree is None else self._tree.spreads()
        return [
            Reply(encoder.decode(words[: len(words) - bool(ended)]), Ending.ITSELF if ended else Ending.CUT, spread)
            for words, ended, spread in zip(self._said, self._ended, spreads, strict=True)
        ]
