"""Converts frames to rows of a shard and back, without loss."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vlm3.geometry.camera import Camera, Distortion
from vlm3.geometry.depth import DepthKind
from vlm3.scenes.schema import Box, DepthMap, Frame, FullDepth, IntrinsicsSource, Scale

_REALS = pa.list_(pa.float64())
_BOX = pa.struct(
    [
        ("label", pa.string()),
        ("center_cam_m", _REALS),
        ("size_m", _REALS),
        ("cam_R_object", _REALS),
        ("region_px", _REALS),
    ]
)
_SMALL_DEPTH = pa.struct(
    [
        ("width_px", pa.int32()),
        ("height_px", pa.int32()),
        ("fx_px", pa.float64()),
        ("fy_px", pa.float64()),
        ("cx_px", pa.float64()),
        ("cy_px", pa.float64()),
        ("z_depth_m", pa.list_(pa.float32())),
    ]
)
_FULL_DEPTH = pa.struct([("metres_per_unit", pa.float64()), ("encoded_png", pa.binary())])

# In file order: the columns that training on depth reads come first, so that one request fetches them all.
SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("scene", pa.string()),
        ("clip", pa.int32()),
        ("frame", pa.string()),
        ("camera_id", pa.string()),
        ("time_s", pa.float64()),
        ("dynamic", pa.bool_()),
        ("scale", pa.string()),
        ("intrinsics_source", pa.string()),
        ("width_px", pa.int32()),
        ("height_px", pa.int32()),
        ("fx_px", pa.float64()),
        ("fy_px", pa.float64()),
        ("cx_px", pa.float64()),
        ("cy_px", pa.float64()),
        ("distortion", pa.string()),
        ("distortion_coefficients", _REALS),
        ("world_T_cam", _REALS),
        ("depth_kind", pa.string()),
        ("points_u_px", pa.list_(pa.float32())),
        ("points_v_px", pa.list_(pa.float32())),
        ("points_depth_m", pa.list_(pa.float32())),
        ("encoded_image", pa.binary()),
        ("small_depth", _SMALL_DEPTH),
        ("full_depth", _FULL_DEPTH),
        ("boxes", pa.list_(_BOX)),
    ]
)
ENCODED_COLUMNS = ("encoded_image", "full_depth.encoded_png")
"""JPEG and PNG bytes: stored as they are, without dictionary, statistics or compression."""
POINT_COLUMNS = ("points_u_px", "points_v_px", "points_depth_m")
HEAVY_COLUMNS = (*POINT_COLUMNS, "encoded_image", "small_depth", "full_depth", "boxes")
LIGHT_COLUMNS = tuple(name for name in SCHEMA.names if name not in HEAVY_COLUMNS)
"""Columns that every Frame needs: ids, time, camera, pose, scale."""


class _LightRow(NamedTuple):
    """The light columns of a row, by name; a dictionary per row would cost three times as much."""

    source: str
    scene: str
    frame: str
    camera_id: str
    time_s: float | None
    dynamic: bool
    scale: str
    intrinsics_source: str
    width_px: int
    height_px: int
    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float
    distortion: str
    distortion_coefficients: list[float]
    world_T_cam: list[float] | None
    depth_kind: str


def frames_to_table(frames: Sequence[Frame], clip: int) -> pa.Table:
    """A table with the rows of one clip.

    Args:
        frames: the clip's frames, in order.
        clip: number of the clip in its shard.
    """
    light = [_light_row(frame, clip) for frame in frames]
    columns: dict[str, Any] = {name: [row[name] for row in light] for name in LIGHT_COLUMNS}
    for axis, name in enumerate(POINT_COLUMNS):
        columns[name] = [np.ascontiguousarray(frame.points[:, axis], np.float32) for frame in frames]
    columns["encoded_image"] = [frame.encoded_image for frame in frames]
    columns["small_depth"] = _small_depths([frame.small_depth for frame in frames])
    columns["full_depth"] = [frame.full_depth and _fields(frame.full_depth, _FULL_DEPTH) for frame in frames]
    columns["boxes"] = [
        None if frame.boxes is None else [_fields(box, _BOX) for box in frame.boxes] for frame in frames
    ]
    return pa.table({field.name: pa.array(columns[field.name], field.type) for field in SCHEMA}, SCHEMA)


def table_to_frames(table: pa.Table) -> list[Frame]:
    """The frames of a table's rows; fields whose columns were not read are None or empty.

    Args:
        table: has at least `LIGHT_COLUMNS` of `SCHEMA`.
    """
    columns = {name: _chunk(table[name]) for name in table.column_names}
    light = zip(*(columns[name].to_pylist() for name in _LightRow._fields), strict=True)
    return [_frame(_LightRow(*values), columns, i) for i, values in enumerate(light)]


def _light_row(frame: Frame, clip: int) -> dict[str, Any]:
    camera = frame.camera
    return {
        "source": frame.source,
        "scene": frame.scene,
        "clip": clip,
        "frame": frame.frame,
        "camera_id": frame.camera_id,
        "time_s": frame.time_s,
        "dynamic": frame.dynamic,
        "scale": frame.scale.value,
        "intrinsics_source": frame.intrinsics_source.value,
        "width_px": camera.width_px,
        "height_px": camera.height_px,
        "fx_px": camera.fx_px,
        "fy_px": camera.fy_px,
        "cx_px": camera.cx_px,
        "cy_px": camera.cy_px,
        "distortion": camera.distortion.value,
        "distortion_coefficients": camera.coefficients,
        "world_T_cam": None if frame.world_T_cam is None else np.asarray(frame.world_T_cam, np.float64).ravel(),
        "depth_kind": frame.depth_kind.value,
    }


def _fields(item: object, kind: pa.StructType) -> dict[str, Any]:
    return {name: getattr(item, name) for name in kind.names}


def _small_depths(maps: Sequence[DepthMap | None]) -> pa.StructArray:
    # Built column by column: from a list of structs Arrow would convert the arrays inside number by number.
    rows = [None if depth is None else np.asarray(depth.z_depth_m, np.float32) for depth in maps]
    columns = {
        "width_px": [None if z is None else z.shape[1] for z in rows],
        "height_px": [None if z is None else z.shape[0] for z in rows],
        "z_depth_m": [None if z is None else z.ravel() for z in rows],
    }
    for name in ("fx_px", "fy_px", "cx_px", "cy_px"):
        columns[name] = [None if depth is None else getattr(depth, name) for depth in maps]
    arrays = [pa.array(columns[field.name], field.type) for field in _SMALL_DEPTH]
    return pa.StructArray.from_arrays(arrays, fields=list(_SMALL_DEPTH), mask=pa.array([z is None for z in rows]))


def _frame(row: _LightRow, columns: dict[str, pa.Array], i: int) -> Frame:
    def cell(name: str) -> Any:
        return columns[name][i] if name in columns else None

    image, full_depth, boxes, pose = cell("encoded_image"), cell("full_depth"), cell("boxes"), row.world_T_cam
    return Frame(
        source=row.source,
        scene=row.scene,
        frame=row.frame,
        camera_id=row.camera_id,
        encoded_image=b"" if image is None else image.as_py(),
        camera=Camera(
            row.width_px,
            row.height_px,
            row.fx_px,
            row.fy_px,
            row.cx_px,
            row.cy_px,
            Distortion(row.distortion),
            tuple(row.distortion_coefficients),
        ),
        intrinsics_source=IntrinsicsSource(row.intrinsics_source),
        world_T_cam=None if pose is None else np.array(pose, np.float64).reshape(4, 4),
        scale=Scale(row.scale),
        depth_kind=DepthKind(row.depth_kind),
        points=_points([cell(name) for name in POINT_COLUMNS]),
        small_depth=_small_depth(cell("small_depth")),
        full_depth=FullDepth(**full_depth.as_py()) if full_depth is not None and full_depth.is_valid else None,
        boxes=tuple(_box(box) for box in boxes.as_py()) if boxes is not None and boxes.is_valid else None,
        time_s=row.time_s,
        dynamic=row.dynamic,
    )


def _chunk(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array; a single chunk is returned as it is, because joining copies even that."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _points(cells: list[Any]) -> NDArray[np.float32]:
    if any(cell is None or not cell.is_valid for cell in cells):
        return np.empty((0, 3), np.float32)
    return np.stack([cell.values.to_numpy() for cell in cells], axis=1)


def _small_depth(cell: Any) -> DepthMap | None:
    if cell is None or not cell.is_valid:
        return None
    # A copy: a view would keep the whole clip's depth in memory for one frame of it.
    z_depth_m = cell["z_depth_m"].values.to_numpy().reshape(cell["height_px"].as_py(), cell["width_px"].as_py()).copy()
    return DepthMap(z_depth_m, **{name: cell[name].as_py() for name in ("fx_px", "fy_px", "cx_px", "cy_px")})


def _box(row: dict[str, Any]) -> Box:
    region = row["region_px"]
    return Box(
        label=row["label"],
        center_cam_m=tuple(row["center_cam_m"]),
        size_m=tuple(row["size_m"]),
        cam_R_object=tuple(row["cam_R_object"]),
        region_px=None if region is None else tuple(region),
    )
