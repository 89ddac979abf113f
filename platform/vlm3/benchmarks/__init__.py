"""Benchmarks as they are published: frames, and what is true of them."""
