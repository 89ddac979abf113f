"""Scores of predictions, with intervals and baselines."""
