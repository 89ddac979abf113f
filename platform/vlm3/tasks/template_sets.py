"""Template sets, checked for every task there is."""

from vlm3.asking.templates import TemplateSet, template_set
from vlm3.errors import ConfigError, nearest
from vlm3.tasks import TASKS

PARTS = {room.templates.FIELD: room.templates for room in TASKS if room.templates is not None}
"""What a set may hold beside what all tasks share."""


def check_templates(given: str | TemplateSet) -> None:
    """Refuse a set with a part that no task reads, or that cannot be read.

    Raises:
        ConfigError: naming the field.
    """
    templates = template_set(given)
    for field in templates.parts():
        if field not in PARTS:
            known = {*PARTS, *type(templates).model_fields}
            raise ConfigError(f"{templates.where}: unknown key {field!r}{nearest(field, known)}")
        templates.part(PARTS[field])
