"""The search for mixture weights."""
