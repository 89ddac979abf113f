"""Rendered rooms: frames with exact labels, made from a seed."""
