"""The tasks, each with a folder and a room of its own. `TASKS` is the only list of them."""

from vlm3.asking.room import LoopRoom, TaskRoom
from vlm3.tasks.correspondence.room import CorrespondenceRoom
from vlm3.tasks.depth.room import DepthRoom
from vlm3.tasks.depth_marker.room import DepthMarkerRoom
from vlm3.tasks.objects.room import ObjectsRoom
from vlm3.tasks.pose.room import PoseRoom

IN_LOOP: LoopRoom = DepthRoom()
"""The task that is evaluated during training; versions of a model are compared by its first headline metric."""

TASKS: tuple[TaskRoom, ...] = (IN_LOOP, DepthMarkerRoom(), CorrespondenceRoom(), PoseRoom(), ObjectsRoom())
"""Where rooms share a table, the first one that a model was trained on answers, and the first of all scores."""


def _scored() -> dict[str, TaskRoom]:
    rooms: dict[str, TaskRoom] = {}
    for room in TASKS:
        rooms.setdefault(room.table.task, room)
    return rooms


SCORED = _scored()
"""Name of a table → the room that scores and pictures it."""
