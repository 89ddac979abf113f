"""Sources go through real Ray Data into shards, on disk and on a real S3 server, and come back as they were."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.ingest import REPORT, IngestConfig, ingest
from tests.frames import MadeReader, assert_same_frame
from tests.job_runs import RayVariables, job_environment
from tests.storage_fixtures import S3Server, make_bucket
from vlm3.errors import DataError
from vlm3.scenes.protocol import Rejection
from vlm3.scenes.schema import Frame
from vlm3.scenes.sharded import DEPTH_COLUMNS, ShardedSource
from vlm3.sources.reader import open_reader
from vlm3.sources.rooms.reader import RoomsConfig, RoomsReader
from vlm3.storage.manifest import MANIFEST, read_manifest
from vlm3.storage.split import Split
from vlm3.storage.store import Store, open_store

REPOSITORY = Path(__file__).resolve().parents[2]
SMALL = IngestConfig(clip_frames=4, slots_per_clip=4, heldout_share=0.3)
pytestmark = pytest.mark.usefixtures("ray_session")


def frames_of(source: ShardedSource) -> dict[tuple[str, str], Frame]:
    return {
        (frame.scene, frame.frame): frame
        for split in Split
        for clip in range(source.clips(split))
        for frame in source.read_clip(split, clip)
    }


def given(reader) -> dict[tuple[str, str], Frame]:
    items = [item for scene in reader.scenes() for item in reader.frames(scene)]
    return {(item.scene, item.frame): item for item in items if isinstance(item, Frame)}


def test_rendered_frames_come_back_to_the_bit_and_a_second_ingest_does_nothing(tmp_path: Path) -> None:
    reader = RoomsReader(RoomsConfig(scenes=8, frames_per_scene=4, width_px=64, height_px=48))
    first = ingest(reader, str(tmp_path / "rooms"), SMALL)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "rooms").iterdir()}
    source = ShardedSource.open(str(tmp_path / "rooms"))
    assert source.clips(Split.TRAIN) > 0 and source.clips(Split.EVAL) > 0
    back, expected = frames_of(source), given(reader)
    assert back.keys() == expected.keys()
    for key, frame in expected.items():
        assert_same_frame(back[key], frame)
    again = ingest(reader, str(tmp_path / "rooms"), SMALL)
    assert again.reused and again.fingerprint == first.fingerprint
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "rooms").iterdir()} == written
    elsewhere = ingest(reader, str(tmp_path / "copy"), SMALL)
    assert elsewhere.fingerprint == first.fingerprint, "the same scenes and config give the same content"


def test_no_scene_is_in_both_splits_and_all_clips_are_of_one_size(tmp_path: Path) -> None:
    ingest(MadeReader(sizes=(4,) * 12), str(tmp_path), SMALL)
    source = ShardedSource.open(str(tmp_path))
    scenes = {
        split: {f.scene for clip in range(source.clips(split)) for f in source.read_clip(split, clip)}
        for split in Split
    }
    assert scenes[Split.TRAIN] and scenes[Split.EVAL] and not scenes[Split.TRAIN] & scenes[Split.EVAL]
    sizes = {len(source.read_clip(split, clip)) for split in Split for clip in range(source.clips(split))}
    assert sizes == {4}


def test_real_sources_go_to_a_real_s3_server_and_back(
    data_dir: Path, rclone_server: S3Server, use_s3: Callable[[S3Server], None]
) -> None:
    use_s3(rclone_server)
    make_bucket(rclone_server, "posed")
    for name, role in (("rgbd_hololens", "train"), ("depth_ibims1", "eval")):
        reader = open_reader(data_dir / name, name)
        done = ingest(reader, f"s3://posed/{name}", IngestConfig(role=role, clip_frames=8))
        assert done.rejections == ()
        source = ShardedSource.open(f"s3://posed/{name}")
        assert source.role == role
        back, expected = frames_of(source), given(reader)
        assert back.keys() == expected.keys()
        for key, frame in expected.items():
            assert_same_frame(back[key], frame)
    assert ShardedSource.open("s3://posed/depth_ibims1").clips(Split.TRAIN) == 0


def test_training_columns_are_a_part_of_a_clips_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ingest(RoomsReader(RoomsConfig(scenes=4, frames_per_scene=4)), str(tmp_path), SMALL)
    source = ShardedSource.open(str(tmp_path))
    source.read_clip(Split.TRAIN, 0)  # the footer is in the cache from here on
    read: list[int] = []
    whole = Store.read_range
    monkeypatch.setattr(Store, "read_range", lambda *a: read.append(a[3]) or whole(*a))
    source.read_clip(Split.TRAIN, 0)
    everything = sum(read)
    read.clear()
    frames = source.read_clip(Split.TRAIN, 0, DEPTH_COLUMNS)
    assert frames[0].full_depth is None and len(frames[0].points)
    assert 0 < sum(read) < 0.6 * everything
    assert len(read) == 1, "one request a clip"


def test_bad_frames_are_named_left_out_and_reported(tmp_path: Path) -> None:
    reader = BadReader()
    done = ingest(reader, str(tmp_path), replace_config(max_rejected_share=0.5))
    reasons = {rejection.frame: rejection.reason for rejection in done.rejections}
    assert reasons.keys() == {"0001", "0002", "0003", "0004"}
    for frame, word in (
        ("0001", "rigid"),
        ("0002", "principal point"),
        ("0003", "range of depth"),
        ("0004", "unreadable"),
    ):
        assert word in reasons[frame]
    assert not {key[1] for key in frames_of(ShardedSource.open(str(tmp_path)))} & reasons.keys()
    assert set(pq.read_table(tmp_path / REPORT).column("frame").to_pylist()) == reasons.keys()


def test_too_many_bad_frames_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="rejected"):
        ingest(BadReader(), str(tmp_path), SMALL)
    assert not (tmp_path / MANIFEST).exists()


def test_another_sources_place_is_not_overwritten(tmp_path: Path) -> None:
    ingest(MadeReader(sizes=(4, 4)), str(tmp_path), SMALL)
    with pytest.raises(DataError, match="--replace"):
        ingest(MadeReader(sizes=(4, 4), source="other"), str(tmp_path), SMALL)


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    ingest(MadeReader(sizes=(4,) * 4), str(tmp_path), SMALL)
    for path in tmp_path.glob("*-g*.parquet"):
        data = bytearray(path.read_bytes())
        data[8 : len(data) // 2] = bytes(len(data) // 2 - 8)
        path.write_bytes(data)
    with pytest.raises(DataError, match=r"train-g0-\d+-\d+\.parquet"):
        ShardedSource.open(str(tmp_path)).read_clip(Split.TRAIN, 0)


HELD = """
import sys, time
from pathlib import Path
from pipelines.cluster import connect
from pipelines.ingest import IngestConfig, ingest
from vlm3.sources.rooms.reader import RoomsConfig, RoomsReader

class Held(RoomsReader):
    def frames(self, scene):
        # The last scene never ends: whoever kills the ingest comes in time.
        while scene == self.scenes()[-1]:
            time.sleep(0.1)
        yield from super().frames(scene)

if __name__ == "__main__":
    connect()
    reader = Held(RoomsConfig(scenes=24, frames_per_scene=4, width_px=64, height_px=48))
    ingest(reader, sys.argv[1], IngestConfig(clip_frames=4, slots_per_clip=4))
"""


def test_a_killed_ingest_leaves_no_source_and_the_next_one_completes_it(tmp_path: Path, joined: RayVariables) -> None:
    uri = tmp_path / "rooms"
    (tmp_path / "held.py").write_text(HELD)
    environment = job_environment(joined, PYTHONPATH=f"{REPOSITORY / 'platform'}:{REPOSITORY}")
    with subprocess.Popen([sys.executable, str(tmp_path / "held.py"), str(uri)], env=environment) as process:
        try:
            while not list(uri.glob("train-*.parquet")):
                assert process.poll() is None, "the ingest ended before it wrote anything"
                time.sleep(0.05)
        finally:
            process.send_signal(signal.SIGKILL)
    assert list(uri.glob("train-*.parquet")) and not (uri / MANIFEST).exists()
    with pytest.raises(DataError, match="rooms"):
        ShardedSource.open(str(uri))
    reader = RoomsReader(RoomsConfig(scenes=6, frames_per_scene=4, width_px=64, height_px=48))
    done = ingest(reader, str(uri), SMALL)
    assert {path.name for path in uri.glob("*-g*.parquet")} == {file.path for file in _manifest_files(str(uri))}, (
        "leftovers are cleared away"
    )
    assert done.frames_read == 24


def _manifest_files(uri: str):
    return read_manifest(open_store(uri)).files


def replace_config(**changes: float) -> IngestConfig:
    return SMALL.model_copy(update=changes)


class BadReader(MadeReader):
    """Sixteen frames of one scene, four of them bad in different ways."""

    def __init__(self) -> None:
        super().__init__(sizes=(16,))

    def frames(self, scene: str):
        for frame in super().frames(scene):
            if isinstance(frame, Rejection):
                yield frame
            elif frame.frame == "0001":
                yield replace(frame, world_T_cam=frame.world_T_cam * np.array([[2.0], [1], [1], [1]]))
            elif frame.frame == "0002":
                yield replace(frame, camera=replace(frame.camera, cx_px=99.0))
            elif frame.frame == "0003":
                yield replace(frame, points=frame.points * np.array([1, 1, 1e6], np.float32))
            elif frame.frame == "0004":
                cut = cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8))[
                    1
                ].tobytes()
                yield replace(frame, encoded_image=cut[: len(cut) // 2])
            else:
                yield frame
