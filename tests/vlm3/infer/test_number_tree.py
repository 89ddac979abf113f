"""The tree of digits finds each number that is likely enough, with its probability, and loses none unseen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm3.asking.number_form import NumberForm, Spread
from vlm3.infer.number_tree import BEFORE, LEAST, POINT, SLOTS, FormTokens, NumberTree


def told(text: str, seed: int, sharpness: float) -> np.ndarray:
    """What an imaginary model says after a text: (SLOTS,) probabilities that leave some for other tokens."""
    rng = np.random.default_rng([seed, *text.encode()])
    weights = rng.gamma(1 / sharpness, size=SLOTS + 1) + 1e-9
    shares: np.ndarray = weights[:SLOTS] / weights.sum()
    return shares


def grown(tokens: FormTokens, questions: int, seed: int, sharpness: float) -> tuple[list[Spread], int]:
    """All levels; and the most rows at once."""
    tree = NumberTree(tokens, questions)
    texts, most = [f"{question}:" for question in range(questions)], 0
    while texts:
        parents, slots = tree.grow(np.array([told(text, seed, sharpness) for text in texts]))
        texts = [texts[parent] + "0123456789.b"[slot] for parent, slot in zip(parents, slots, strict=True)]
        most = max(most, len(texts))
    return tree.spreads(), most


def brute(tokens: FormTokens, question: int, seed: int, sharpness: float) -> tuple[dict[float, float], float]:
    """Probability of each number whose every way is likely enough, and of all numbers together, given up or not."""
    found: dict[float, float] = {}
    readable = 0.0

    def go(text: str, digits: str, before: int, probability: float) -> None:
        nonlocal readable
        shares = told(text, seed, sharpness)
        _, point, rest = digits.partition(".")
        if before:
            children = {BEFORE: ""}
        elif point:
            children = {digit: str(digit) for digit in range(10)}
        else:
            more = digits == "" or (digits[0] != "0" and len(digits) < 4)
            children = {digit: str(digit) for digit in range(10)} if more else {}
            children |= {POINT: "."} if digits else {}
        for slot, character in children.items():
            p = probability * shares[slot]
            if point and len(rest) + 1 == tokens.decimals:
                found[float(digits + character)] = p
                readable += p
            elif p < LEAST:
                readable += p
            else:
                go(text + "0123456789.b"[slot], digits + character, max(0, before - 1), p)

    go(f"{question}:", "", len(tokens.before), 1.0)
    return found, readable


@given(
    st.integers(1, 3), st.integers(0, 2), st.integers(1, 4), st.integers(0, 10**6), st.sampled_from([1.0, 5.0, 30.0])
)
def test_it_finds_what_trying_every_number_finds(
    decimals: int, before: int, questions: int, seed: int, sharpness: float
) -> None:
    tokens = FormTokens(tuple(range(20, 20 + before)), tuple(range(10)), 10, decimals)
    spreads, most = grown(tokens, questions, seed, sharpness)
    assert most <= questions / LEAST
    for question, spread in enumerate(spreads):
        wanted, readable = brute(tokens, question, seed, sharpness)
        assert spread.values.tolist() == sorted(wanted)
        np.testing.assert_allclose(spread.probabilities, [wanted[value] for value in sorted(wanted)])
        assert spread.readable == pytest.approx(readable) and spread.readable <= 1 + 1e-9
        assert spread.probabilities.sum() <= spread.readable + 1e-9
        assert spread.step == pytest.approx(10**-decimals)


def test_a_tree_that_is_left_early_counts_what_it_had() -> None:
    tree = NumberTree(FormTokens((), tuple(range(10)), 10, 2), 1)
    shares = np.zeros((1, SLOTS))
    shares[0, [1, 2]] = 0.6, 0.3
    tree.grow(shares)
    (spread,) = tree.spreads()
    assert len(spread.values) == 0 and spread.readable == pytest.approx(0.9)


def test_a_tokenizer_without_digits_of_their_own_has_no_tree() -> None:
    class Pairs:
        """Two characters a token."""

        def text_ids(self, text: str) -> list[int]:
            return [hash(text[i : i + 2]) for i in range(0, len(text), 2)]

    class Merging:
        """What stands before a number merges with its first digit."""

        def text_ids(self, text: str) -> list[int]:
            return [ord(character) for character in text.replace(">1", "!")]

    assert FormTokens.of(NumberForm("", 2), Pairs()) is None  # type: ignore[arg-type]
    assert FormTokens.of(NumberForm(">", 2), Merging()) is None  # type: ignore[arg-type]
    plain = FormTokens.of(NumberForm("=", 2), Merging())  # type: ignore[arg-type]
    assert plain == FormTokens((ord("="),), tuple(map(ord, "0123456789")), ord("."), 2)
    assert FormTokens.of(NumberForm("=", 0), Merging()) is None, "nothing shows where such a number ends"  # type: ignore[arg-type]
