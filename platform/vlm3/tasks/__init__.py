"""The tasks: a room each, with all that is about the task. `TASKS` is the only list of them."""

from vlm3.asking.room import LoopRoom, TaskRoom
from vlm3.tasks.correspondence.room import CorrespondenceRoom
from vlm3.tasks.depth.room import DepthRoom
from vlm3.tasks.depth_marker.room import DepthMarkerRoom
from vlm3.tasks.objects.room import ObjectsRoom
from vlm3.tasks.pose.room import PoseRoom

IN_LOOP: LoopRoom = DepthRoom()
"""Held-out frames are asked about it while training goes on; versions of a model compete by its first headline."""

TASKS: tuple[TaskRoom, ...] = (IN_LOOP, DepthMarkerRoom(), CorrespondenceRoom(), PoseRoom(), ObjectsRoom())
"""Of rooms that share a table, the first one that a model knows answers, and the first one scores."""


def _scored() -> dict[str, TaskRoom]:
    rooms: dict[str, TaskRoom] = {}
    for room in TASKS:
        rooms.setdefault(room.table.task, room)
    return rooms


SCORED = _scored()
"""Name of a table → the room that scores and pictures it."""
