"""Each row finds its own keys again, whichever rows have ended."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from vlm3.infer.own_keys import OwnKeys
from vlm3.infer.shared_attention import SharedKeys

LAYERS, HEADS, SIZE = 2, 2, 3


def of_rows(rows: list[int], token: int, length: int = 1) -> torch.Tensor:
    """Keys that say whose they are, and of which token."""
    tokens = torch.arange(token, token + length)
    return (torch.tensor(rows)[:, None] * 100 + tokens)[:, None, :, None].expand(-1, HEADS, -1, SIZE).float()


@given(st.lists(st.integers(1, 4), min_size=1, max_size=7), st.data())
def test_rows_have_the_keys_of_their_parents(lengths: list[int], data: st.DataObject) -> None:
    shared = SharedKeys(*((torch.zeros(1, HEADS, 5, SIZE),) * LAYERS for _ in range(2)))
    width, rows, at = max(lengths), list(range(len(lengths))), torch.tensor(lengths)
    own = OwnKeys(shared, len(rows), width + 4)
    own.place(None, width)
    for layer in range(LAYERS):
        own.update(of_rows(rows, 0, width), -of_rows(rows, 0, width), layer)
    for _ in range(4):
        parents = data.draw(
            st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=8, unique=data.draw(st.booleans()))
        )
        order = own.go_on_from(torch.tensor(parents)).tolist()
        assert sorted(order) == list(range(len(parents)))
        left = [parents[place] for place in order]
        rows, at = [rows[index] for index in left], at[left]
        end = int(at.max()) + 1
        own.place(at, end)
        new = torch.cat([of_rows([row], int(place)) for row, place in zip(rows, at, strict=True)])
        for layer in range(LAYERS):
            keys, values = own.update(new, -new, layer)
            for index, (row, place) in enumerate(zip(rows, at.tolist(), strict=True)):
                wanted = of_rows([row], 0, place + 1)[0]
                assert keys[index, :, : place + 1].equal(wanted) and values[index, :, : place + 1].equal(-wanted)
        at = at + 1


def test_memory_is_taken_once() -> None:
    shared = SharedKeys((torch.zeros(1, HEADS, 5, SIZE),), (torch.zeros(1, HEADS, 5, SIZE),))
    own = OwnKeys(shared, 3, 8)
    own.place(None, 2)
    first, _ = own.update(of_rows([0, 1, 2], 0, 2), of_rows([0, 1, 2], 0, 2), 0)
    assert own.go_on_from(torch.tensor([1, 2])).tolist() == [1, 0], "the last row moved to the first place"
    own.place(torch.tensor([2, 2]), 3)
    later, _ = own.update(of_rows([2, 1], 2), of_rows([2, 1], 2), 0)
    assert later.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
