"""The keys and values of the tokens that belong to one row alone, for a chunk of rows."""

import torch

from vlm3.infer.shared_attention import SharedKeys


class OwnKeys:
    """A cache of the form that transformers asks for, in memory that is allocated once.

    Rows are padded on the right. A new token takes the place after its row's last one, so padding is overwritten and
    never seen. Rows that have ended make room: the last ones move into their places.
    """

    is_compileable = False

    def __init__(self, like: SharedKeys, rows: int, capacity: int) -> None:
        key = like.keys[0]
        shape = (len(like.keys), rows, key.shape[1], capacity, key.shape[3])
        # Zeros: what is never seen has weight 0, and 0 times a NaN that the memory held before would be one.
        self._keys, self._values = torch.zeros(2, *shape, dtype=key.dtype, device=key.device)
        self._rows = rows
        self._places: torch.Tensor | None = None
        self._end = 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens before the next ones, for callers that derive positions from it; ours are always given."""
        return self._end

    def place(self, places: torch.Tensor | None, end: int) -> None:
        """Where the tokens of the next forward go.

        Args:
            places: (rows,) of one token a row; None: the first `end`, of every row.
            end: keys from here on are not looked at.
        """
        self._places, self._end = places, end

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take the keys and values of one layer, (rows, key heads, L, head size); returns all of it so far."""
        rows = self._rows
        ours, theirs = self._keys[layer_idx, :rows], self._values[layer_idx, :rows]
        if self._places is None:
            ours[:, :, : self._end] = keys
            theirs[:, :, : self._end] = values
        else:
            every = torch.arange(rows, device=keys.device)
            ours[every, :, self._places] = keys[:, :, 0]
            theirs[every, :, self._places] = values[:, :, 0]
        return ours[:, :, : self._end], theirs[:, :, : self._end]

    def go_on_from(self, parents: torch.Tensor) -> torch.Tensor:
        """Let rows go on, each with the keys of its parent; rows that are nobody's parent end.

        Args:
            parents: (children,) the rows that they go on from; a row may have several children.

        Returns:
            (children,) places in `parents`: the rows are in this order now.
        """
        children = torch.arange(len(parents), device=parents.device)
        going_on = torch.zeros(self._rows, dtype=torch.bool, device=parents.device)
        going_on[parents] = True
        if int(going_on.sum()) < len(parents):
            # Copied once for all layers: what is a row's own is short.
            self._keys, self._values = self._keys[:, parents], self._values[:, parents]
            self._rows = len(parents)
            return children
        child_of = torch.empty_like(going_on, dtype=torch.long)
        child_of[parents] = children
        return child_of[self._keep(going_on)]

    def _keep(self, going_on: torch.Tensor) -> torch.Tensor:
        """Keep the rows for which `going_on`, bool (rows,), is True: the last ones move to where others end.

        Returns:
            (left,) the rows that are left, in their new order.
        """
        left = int(going_on.sum())
        order = torch.arange(self._rows, device=going_on.device)
        free, moved = order[:left][~going_on[:left]], order[left:][going_on[left:]]
        if len(moved):
            self._keys[:, free] = self._keys[:, moved]
            self._values[:, free] = self._values[:, moved]
            order[free] = moved
        self._rows = left
        return order[:left]

    def all_of_the_first(self, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of the first row's first tokens, (layers, 1, key heads, length, head size)."""
        return self._keys[:, :1, :, :length], self._values[:, :1, :, :length]
