"""Answers of models to benchmarks, and what they are worth."""
