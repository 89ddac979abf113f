"""Qwen3-VL by hub id, directory or tiny preset; export."""
