"""The room of a task."""
