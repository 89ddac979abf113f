"""Answers of models to benchmarks, and their scores."""
