"""All about the depth task."""
