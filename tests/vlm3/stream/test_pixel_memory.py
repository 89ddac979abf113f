"""Memory is used again only when nobody looks at it."""

import numpy as np
import pyarrow as pa

from vlm3.stream.pixel_memory import KEPT, PixelMemory


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_memory_is_used_again_once_everything_made_of_it_is_gone() -> None:
    memory = PixelMemory()
    first = memory.take(1000)
    place = address(first)
    view = first[10:20].reshape(2, 5)
    del first
    assert address(memory.take(1000)) != place, "a view of a view still looks at it"
    del view
    assert address(memory.take(1000)) == place


def test_a_buffer_in_an_arrow_array_is_not_used_again() -> None:
    memory = PixelMemory()
    pixels = memory.take(8)
    pixels[:] = np.arange(8)
    offsets = pa.py_buffer(np.array([0, 8], np.int64))
    column = pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, offsets, pa.py_buffer(pixels)])
    del pixels
    memory.take(8)[:] = 99
    assert column[0].as_py() == bytes(range(8))


def test_sizes_may_differ_from_parcel_to_parcel() -> None:
    memory = PixelMemory()
    for size in (10, 1000, 1100, 5, 1125):
        taken = memory.take(size)
        assert taken.shape == (size,) and taken.dtype == np.uint8


def test_a_process_keeps_few_buffers_however_many_are_held() -> None:
    memory = PixelMemory()
    held = [memory.take(1000) for _ in range(10)]
    places = {address(array) for array in held}
    assert len(places) == 10
    del held
    reused = [memory.take(1000) for _ in range(KEPT)]
    assert {address(array) for array in reused} <= places
