"""Tasks trained together: metres mean the same only where focal lengths are equal, or named in the questions."""

from collections.abc import Sequence
from dataclasses import dataclass

from vlm3.errors import ConfigError


@dataclass(frozen=True, slots=True)
class MetricTask:
    """A task with questions about metres."""

    name: str
    """Name of the task in the recipe."""
    focal_px: float
    """Focal length to which its images are unified."""
    names_focal: bool
    """Whether all its questions about metres name this focal length."""


def check_focals(tasks: Sequence[MetricTask]) -> None:
    """Refuse a joint recipe in which the same picture would mean different metres.

    At twice the focal length everything looks twice as large: without the focal length a model cannot know how far
    away things are (focal length unification; VLM3, arXiv 2605.30561).

    Args:
        tasks: tasks of the recipe that ask for metres.

    Raises:
        ConfigError: focal lengths differ, and not every task names its own in its questions.
    """
    silent = [task.name for task in tasks if not task.names_focal]
    if len({task.focal_px for task in tasks}) > 1 and silent:
        listed = ", ".join(f"{task.name} at {task.focal_px:g} px" for task in tasks)
        raise ConfigError(
            f"tasks: metres are asked for at different focal lengths ({listed}), which the questions of"
            f" {', '.join(silent)} do not name: give these tasks one focal_px, or a template set whose questions about"
            " metres all use the field {focal} (those about objects have none)"
        )
