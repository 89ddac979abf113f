"""Search over mixture weights."""
