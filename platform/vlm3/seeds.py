"""Random streams keyed by their purpose, not by the order of draws: one key gives one stream on any machine."""

import hashlib
from operator import index

import numpy as np


def derive_seed(*keys: int | str) -> int:
    """A 64-bit seed from a path of keys, e.g. `derive_seed(run_seed, "clip", source, epoch)`.

    Keys are length-prefixed, so ("ab", "c") and ("a", "bc") differ, as do 1 and "1". NumPy integers count as integers.
    """
    digest = hashlib.blake2b(digest_size=8)
    for key in keys:
        text = (f"s{key}" if isinstance(key, str) else f"i{index(key)}").encode()
        digest.update(len(text).to_bytes(4, "little") + text)
    return int.from_bytes(digest.digest(), "little")


def generator(*keys: int | str) -> np.random.Generator:
    """A NumPy generator seeded by `derive_seed(*keys)`."""
    return np.random.default_rng(derive_seed(*keys))
