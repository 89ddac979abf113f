"""Finds, loads and exports Qwen3-VL models: by hub id, directory or tiny preset."""
