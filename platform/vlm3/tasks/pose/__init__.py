"""All about the pose task."""
