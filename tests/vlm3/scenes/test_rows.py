"""Frames survive the way into rows and back, bit by bit, whatever is missing."""

import io
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.frames import assert_same_frame, make_frame
from vlm3.geometry.camera import Camera, Distortion
from vlm3.geometry.depth import DepthKind
from vlm3.scenes.rows import LIGHT_COLUMNS, POINT_COLUMNS, SCHEMA, frames_to_table, table_to_frames
from vlm3.scenes.schema import Box, DepthMap, Frame, FullDepth, IntrinsicsSource, Scale

REALS = st.floats(allow_nan=False, width=64)
NAMES = st.text(max_size=12)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    """Any frame the schema can hold, sensible or not."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    height, width = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    z_depth_m = rng.normal(size=(height, width)).astype(np.float32)
    z_depth_m[rng.random((height, width)) < 0.3] = np.nan
    triple = st.tuples(REALS, REALS, REALS)
    boxes = st.builds(
        Box,
        label=NAMES,
        center_cam_m=triple,
        size_m=triple,
        cam_R_object=st.tuples(*[REALS] * 9),
        region_px=st.none() | st.tuples(*[REALS] * 4),
    )
    coefficients = draw(st.lists(REALS, max_size=8).map(tuple))
    return Frame(
        source=draw(NAMES),
        scene=draw(NAMES),
        frame=draw(NAMES),
        camera_id=draw(NAMES),
        encoded_image=draw(st.binary(max_size=50)),
        camera=Camera(
            draw(st.integers(1, 10**5)),
            draw(st.integers(1, 10**5)),
            *[draw(st.floats(1, 1e6)) for _ in range(4)],
            Distortion.NONE if not coefficients else draw(st.sampled_from([Distortion.BROWN, Distortion.FISHEYE])),
            coefficients,
        ),
        intrinsics_source=draw(st.sampled_from(IntrinsicsSource)),
        world_T_cam=draw(st.none() | st.just(rng.normal(size=(4, 4)))),
        scale=draw(st.sampled_from(Scale)),
        depth_kind=draw(st.sampled_from(DepthKind)),
        points=rng.normal(size=(draw(st.integers(0, 6)), 3)).astype(np.float32),
        small_depth=draw(st.none() | st.just(DepthMap(z_depth_m, 1.5, 2.5, 3.5, 4.5))),
        full_depth=draw(st.none() | st.just(FullDepth(b"png", 0.001))),
        boxes=draw(st.none() | st.lists(boxes, max_size=3).map(tuple)),
        time_s=draw(st.none() | REALS),
        dynamic=draw(st.booleans()),
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(frames(), min_size=1, max_size=4), st.integers(0, 1000))
def test_every_frame_comes_back_the_same(given_frames: list[Frame], clip: int) -> None:
    table = frames_to_table(given_frames, clip)
    assert table.schema == SCHEMA
    assert set(table["clip"].to_pylist()) == {clip}
    file = io.BytesIO()
    pq.write_table(table, file)
    for back, frame in zip(table_to_frames(pq.read_table(file)), given_frames, strict=True):
        assert_same_frame(back, frame)


def test_columns_not_read_are_none_or_empty() -> None:
    frame = make_frame("s", 3)
    table = frames_to_table([frame], 0)
    (light,) = table_to_frames(table.select(LIGHT_COLUMNS))
    assert (light.scene, light.frame, light.camera) == (frame.scene, frame.frame, frame.camera)
    assert np.array_equal(light.world_T_cam, frame.world_T_cam)
    assert light.encoded_image == b""
    assert light.points.shape == (0, 3)
    assert light.small_depth is light.full_depth is light.boxes is None
    (pointed,) = table_to_frames(table.select([*LIGHT_COLUMNS, *POINT_COLUMNS]))
    assert np.array_equal(pointed.points, frame.points)
    assert pointed.encoded_image == b""


def test_frames_own_their_memory_and_may_outlive_the_table() -> None:
    (frame,) = table_to_frames(frames_to_table([make_frame("s", 0)], 0))
    assert frame.small_depth is not None
    assert frame.small_depth.z_depth_m.flags.owndata
    assert frame.points.flags.owndata


def test_invalid_depth_is_nan_in_the_file_not_null() -> None:
    table = frames_to_table([make_frame("s", 0)], 0)
    depth = pa.compute.list_flatten(table["small_depth"].combine_chunks().field("z_depth_m"))
    assert depth.null_count == 0
    assert math.isnan(depth[0].as_py())
