"""All about the marked depth task."""
