"""Predictors used alike by evaluation and serving."""
