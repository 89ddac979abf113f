"""The check of a template set for all tasks."""

from vlm3.asking.templates import TemplateSet, template_set
from vlm3.errors import ConfigError, nearest
from vlm3.tasks import TASKS

PARTS = {room.templates.FIELD: room.templates for room in TASKS if room.templates is not None}
"""Name of a task → class of its part of a set."""


def check_templates(given: str | TemplateSet) -> None:
    """Refuse a set with a part that belongs to no task, or that is wrong.

    Raises:
        ConfigError: such a set; the message names the field.
    """
    templates = template_set(given)
    for field in templates.parts():
        if field not in PARTS:
            known = {*PARTS, *type(templates).model_fields}
            raise ConfigError(f"{templates.where}: unknown key {field!r}{nearest(field, known)}")
        templates.part(PARTS[field])
