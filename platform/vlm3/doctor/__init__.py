"""Diagnosis of a source: what is sound, what is not, and how to correct it."""
