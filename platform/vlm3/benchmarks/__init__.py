"""Benchmarks as they are published: frames and their ground truth."""
