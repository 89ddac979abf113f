"""Diagnosis of a source: what is sound, what is not, and what to do about it."""
