"""The numbers that answers may state, as a tree of digits: which ways a model goes, and how likely each is.

A node is the beginning of an answer, with the probability of its tokens by the model. Its children are the tokens with
which a number may go on. Ways that are less likely than LEAST are given up. The last digit needs no forward pass of its
own, since its ten probabilities are those after the digit before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vlm3.asking.number_form import NumberForm, Spread
from vlm3.tokens.encode import ConversationEncoder

LEAST = 0.03
"""Ways of a smaller probability, of all tokens so far together, are given up."""
MOST_WHOLE_DIGITS = 4
POINT, BEFORE, SLOTS = 10, 11, 12
"""Children of a node by their place: ten digits, the point, and the next token of the text before the number."""
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FormTokens:
    """A form of answers in the tokens of one model."""

    before: tuple[int, ...]
    digits: tuple[int, ...]
    point: int
    decimals: int

    @classmethod
    def of(cls, form: NumberForm, encoder: ConversationEncoder) -> Self | None:
        """None where the tokenizer has no token for each digit, or the form has no decimals that show where it ends."""
        number = "1234567890." + "7" * form.decimals
        ids, before = encoder.text_ids(form.before + number), encoder.text_ids(form.before)
        digits = ids[len(before) :]
        if not form.decimals or ids[: len(before)] != before or len(digits) != len(number):
            return None
        return cls(tuple(before), (digits[9], *digits[:9]), digits[10], form.decimals)


@dataclass(frozen=True, slots=True, eq=False)
class Nodes:
    """Nodes of one level, each a row of the model."""

    owner: Ints
    """The question of each."""
    probability: Floats
    whole: Ints
    """Digits before the point so far."""
    decimals: Ints
    """Digits after it so far; -1 before the point."""
    value: Ints
    """All digits so far, as one number."""

    @classmethod
    def roots(cls, count: int) -> Self:
        """One for each question, before its first token."""
        zero = np.zeros(count, np.int64)
        return cls(np.arange(count), np.ones(count), zero, zero - 1, zero)

    def taken(self, index: Ints) -> "Nodes":
        """Some of them."""
        return Nodes(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


class NumberTree:
    """The trees of the questions of a chunk, level by level."""

    def __init__(self, tokens: FormTokens, questions: int) -> None:
        self._tokens = tokens
        self.nodes = Nodes.roots(questions)
        self._depth = 0
        self._found: list[tuple[Ints, Ints, Floats]] = []
        self._readable = np.zeros(questions)

    def slot_ids(self) -> Ints:
        """(SLOTS,) tokens of the children, where they are allowed."""
        before = self._tokens.before
        return np.array(
            [*self._tokens.digits, self._tokens.point, before[min(self._depth, len(before) - 1)] if before else 0]
        )

    def grow(self, probabilities: Floats) -> tuple[Ints, Ints]:
        """Go one level down.

        Args:
            probabilities: (nodes, SLOTS) of the tokens of `slot_ids`, after each node.

        Returns:
            (children,) the index of each child's parent, and its slot. `nodes` are the children now.
        """
        nodes, tokens = self.nodes, self._tokens
        allowed = np.zeros(probabilities.shape, bool)
        if self._depth < len(tokens.before):
            allowed[:, BEFORE] = True
        else:
            started = nodes.decimals < 0
            # A number has no zeros before its first digit, except one before the point.
            more = (nodes.whole == 0) | ((nodes.value > 0) & (nodes.whole < MOST_WHOLE_DIGITS))
            allowed[:, :POINT] = (~started | more)[:, None]
            allowed[:, POINT] = started & (nodes.whole > 0)
        joint = nodes.probability[:, None] * probabilities * allowed
        last = nodes.decimals == tokens.decimals - 1
        digits = np.arange(POINT)
        if last.any():
            ended = joint[last, :POINT]
            owners = np.repeat(nodes.owner[last], POINT)
            self._found.append((owners, (nodes.value[last, None] * 10 + digits).ravel(), ended.ravel()))
            self._give_up(owners, ended.ravel())
            joint[last] = 0
        unlikely = np.where(joint < LEAST, joint, 0)
        self._give_up(nodes.owner, unlikely.sum(1))
        parents, slots = np.nonzero(joint >= LEAST)
        self._depth += 1
        kept = nodes.taken(parents)
        is_digit, after = slots < POINT, kept.decimals >= 0
        self.nodes = Nodes(
            kept.owner,
            joint[parents, slots],
            kept.whole + (is_digit & ~after),
            np.where(slots == POINT, 0, kept.decimals + (is_digit & after)),
            np.where(is_digit, kept.value * 10 + slots, kept.value),
        )
        return parents, slots

    def spreads(self) -> list[Spread]:
        """What was found about each question; nodes that were not gone on from are given up."""
        self._give_up(self.nodes.owner, self.nodes.probability)
        self.nodes = self.nodes.taken(np.zeros(0, np.int64))
        parts: Sequence[tuple[Ints, Ints, Floats]] = self._found or [(np.zeros(0, np.int64),) * 2 + (np.zeros(0),)]
        owners, values, probabilities = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.lexsort((values, owners))
        owners, values, probabilities = owners[order], values[order], probabilities[order]
        bounds = np.searchsorted(owners, np.arange(len(self._readable) + 1))
        step = 10.0**-self._tokens.decimals
        return [
            Spread(values[start:stop] / 10**self._tokens.decimals, probabilities[start:stop], float(readable), step)
            for start, stop, readable in zip(bounds[:-1], bounds[1:], self._readable, strict=True)
        ]

    def _give_up(self, owners: Ints, probabilities: Floats) -> None:
        """Count as readable what is gone no further."""
        np.add.at(self._readable, owners, probabilities)
