"""All about the objects task."""
