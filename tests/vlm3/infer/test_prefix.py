"""Which prefixes are the same, and which are kept."""

import numpy as np
import torch

from vlm3.infer.prefix import Prefix, PrefixCache, prefix_key
from vlm3.infer.shared_attention import SharedKeys

IDS = np.arange(4, dtype=np.int32)
IMAGE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


def prefix(length: int) -> Prefix:
    """256 bytes a token."""
    layers = tuple(torch.zeros(1, 2, length, 8) for _ in range(2))
    return Prefix(SharedKeys(layers, layers), length)


def test_what_the_model_sees_makes_the_key() -> None:
    key = prefix_key(IDS, [IMAGE])
    assert key == prefix_key(IDS.copy(), [IMAGE.copy()]) == prefix_key(IDS, [np.asfortranarray(IMAGE)])
    changed = IMAGE.copy()
    changed[3, 3, 2] += 1
    others = [
        prefix_key(IDS, [changed]),
        prefix_key(IDS[:3], [IMAGE]),
        prefix_key(IDS + 1, [IMAGE]),
        prefix_key(IDS, [IMAGE.reshape(2, 8, 3)]),
        prefix_key(IDS, [IMAGE.transpose(1, 0, 2)]),
        prefix_key(IDS, [IMAGE, IMAGE]),
        prefix_key(IDS, []),
    ]
    assert len({key, *others}) == 8


def test_the_one_used_longest_ago_goes_when_bytes_are_short() -> None:
    cache = PrefixCache(2560)
    cache.put(b"a", prefix(4))
    cache.put(b"b", prefix(4))
    assert cache.get(b"a") is not None
    cache.put(b"c", prefix(5))
    assert cache.get(b"b") is None and cache.get(b"a") is not None and cache.get(b"c") is not None
    assert cache.hits == 3


def test_one_that_is_larger_than_all_room_leaves_the_others_there() -> None:
    cache = PrefixCache(2560)
    cache.put(b"a", prefix(4))
    cache.put(b"large", prefix(11))
    assert cache.get(b"large") is None and cache.get(b"a") is not None
    cache.put(b"full", prefix(10))
    assert cache.get(b"full") is not None and cache.get(b"a") is None
