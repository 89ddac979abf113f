"""What is looked at is spread over the source, bounded, and never more than was asked for by much."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.broken import write_source
from tests.frames import MadeReader
from vlm3.doctor.samples import GROUP_FRAMES, chosen_clips, clip_group, reader_groups, spread
from vlm3.scenes.protocol import Rejection
from vlm3.scenes.schema import Frame
from vlm3.scenes.sharded import ShardedSource
from vlm3.storage.split import Split


@given(count=st.integers(0, 10**7), wanted=st.integers(1, 200))
def test_numbers_are_spread_from_first_to_last(count: int, wanted: int) -> None:
    numbers = spread(count, wanted)
    assert len(numbers) == min(count, wanted)
    assert numbers == sorted(set(numbers))
    if len(numbers) > 1:
        assert (numbers[0], numbers[-1]) == (0, count - 1)
        gaps = [b - a for a, b in pairwise(numbers)]
        assert max(gaps) - min(gaps) <= 1


def test_clips_are_spread_over_the_split_and_hold_about_what_was_asked_for(tmp_path: Path) -> None:
    write_source(MadeReader(sizes=(8,) * 30), tmp_path)
    source = ShardedSource.open(str(tmp_path))
    clips = chosen_clips(source, Split.TRAIN, 40)
    assert len(clips) == 5
    assert (clips[0], clips[-1]) == (0, source.clips(Split.TRAIN) - 1)
    group = clip_group(source, Split.TRAIN, clips[-1])
    assert len(group) == 8
    assert all(isinstance(item, Frame) and item.encoded_image and item.small_depth is not None for item in group)
    assert all(item.full_depth is None for item in group if isinstance(item, Frame))
    assert len(chosen_clips(source, Split.TRAIN, 2)) == 1
    assert len(chosen_clips(source, Split.TRAIN, 10**6)) == source.clips(Split.TRAIN)


def test_a_clip_that_cannot_be_read_is_one_rejection(tmp_path: Path) -> None:
    write_source(MadeReader(sizes=(8,) * 4), tmp_path)
    source = ShardedSource.open(str(tmp_path))
    for path in tmp_path.glob("train-*.parquet"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 255
        path.write_bytes(data)
    groups = [clip_group(source, Split.TRAIN, clip) for clip in range(source.clips(Split.TRAIN))]
    rejections = [group[0] for group in groups if isinstance(group[0], Rejection)]
    assert rejections
    assert rejections[0].scene.startswith("clip ") and "damaged" in rejections[0].reason


class Counting(MadeReader):
    """Counts what is read."""

    read = 0

    def frames(self, scene: str) -> Iterator[Frame | Rejection]:
        """Frames of a scene."""
        for frame in super().frames(scene):
            Counting.read += 1
            yield frame


@pytest.mark.parametrize(("sizes", "groups"), [((8,) * 100, 4), ((500,), 4), ((3, 3), 2), ((1,), 1)])
def test_posed_scenes_are_begun_and_left(sizes: tuple[int, ...], groups: int) -> None:
    Counting.read = 0
    read = list(reader_groups(Counting(sizes=sizes), 64))
    assert len(read) == groups
    assert Counting.read == sum(map(len, read)) <= 64
    assert all(len({item.scene for item in group}) == 1 and len(group) <= GROUP_FRAMES for group in read)
    assert len({item.scene for group in read for item in group}) == min(len(sizes), 4)


def test_single_views_come_from_all_over() -> None:
    reader = MadeReader(sizes=(1,) * 300, posed=False)
    items = [item for group in reader_groups(reader, 20) for item in group]
    assert [item.scene for item in items][:: len(items) - 1] == ["scene-0", "scene-299"]
    assert len(items) == 20
