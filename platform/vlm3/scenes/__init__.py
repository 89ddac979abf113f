"""Scenes, frames and clips: what every reader gives and every shard holds; their checks."""
