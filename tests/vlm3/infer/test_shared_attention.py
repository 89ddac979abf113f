"""Attention to shared and own keys equals the plain softmax over all of them."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vlm3.infer import shared_attention as subject
from vlm3.infer.shared_attention import SharedKeys, attend_shared_and_own, attend_to_all, attend_to_all_plainly

SIZE = 16
few = st.integers(1, 5)


def plainly(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, shared: SharedKeys, seen: torch.Tensor
) -> torch.Tensor:
    """In float64, with all keys of each row laid side by side."""
    rows, heads = query.shape[:2]
    group = heads // key.shape[1]
    keys = torch.cat([shared.keys[1].expand(rows, -1, -1, -1), key], 2).repeat_interleave(group, 1).double()
    values = torch.cat([shared.values[1].expand(rows, -1, -1, -1), value], 2).repeat_interleave(group, 1).double()
    before = torch.ones(*seen.shape[:2], shared.length, dtype=torch.bool)
    hidden = ~torch.cat([before, seen], 2)[:, None]
    scores = (query.double() @ keys.transpose(-1, -2)) * 0.3
    return (scores.masked_fill(hidden, -torch.inf).softmax(-1) @ values).transpose(1, 2)


@given(few, few, st.integers(1, 3), few, st.integers(1, 70), few, st.sampled_from([0.1, 1.0, 3.0]), st.integers(0, 99))
def test_it_equals_the_softmax_over_all_keys(
    rows: int, key_heads: int, group: int, length: int, shared_length: int, own: int, scale: float, seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, SIZE, generator=draw) * scale

    query = drawn(rows, key_heads * group, length)
    key, value = drawn(rows, key_heads, own), drawn(rows, key_heads, own) / scale
    layers = tuple(drawn(1, key_heads, shared_length) for _ in range(2))
    shared = SharedKeys(layers, tuple(layer.flip(-1) / scale for layer in layers))
    seen = torch.rand(rows, length, own, generator=draw) < 0.5
    seen[:, :, 0] = True
    found, _ = attend_shared_and_own(
        SimpleNamespace(layer_idx=1), query, key, value, None, scaling=0.3, shared=shared, own_seen=seen
    )
    torch.testing.assert_close(found.double(), plainly(query, key, value, shared, seen), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("block", [1, 1000, 1 << 24])
def test_without_a_kernel_the_sums_are_the_same(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(subject, "BLOCK_SCORES", block)
    query, key, value = (torch.randn(1, 3, length, SIZE) for length in (37, 50, 50))
    kernel, plain = attend_to_all(query, key, value, 0.25), attend_to_all_plainly(query, key, value, 0.25)
    for ours, theirs in zip(plain, kernel, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_shared_keys_go_on_with_others_and_know_their_size() -> None:
    shared = SharedKeys(
        tuple(torch.zeros(1, 2, 5, SIZE) for _ in range(3)), tuple(torch.ones(1, 2, 5, SIZE) for _ in range(3))
    )
    more = torch.full((3, 1, 2, 4, SIZE), 7.0)
    longer = shared.followed_by(more, more + 1)
    assert (shared.length, longer.length) == (5, 9)
    assert longer.nbytes == 2 * 3 * 2 * 9 * SIZE * 4
    assert longer.keys[2][0, 0, :, 0].tolist() == [0] * 5 + [7] * 4
    assert longer.values[2][0, 0, :, 0].tolist() == [1] * 5 + [8] * 4
