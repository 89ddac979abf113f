"""Callbacks that run after the steps of a run, one in each file."""
