"""The room of the marked depth task: asked in its own way, scored as depth."""

from vlm3.asking.spec import Asked
from vlm3.asking.templates import TaskTemplates
from vlm3.tasks.depth.room import DepthRoom
from vlm3.tasks.depth_marker.task import AskedDepthMarker


class DepthMarkerRoom(DepthRoom):
    """Depth at points that an arrow in the image marks."""

    asked: type[Asked] = AskedDepthMarker
    trained_by_default = False
    templates: type[TaskTemplates] | None = None
