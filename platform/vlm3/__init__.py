"""Train vision-language models that answer metric 3D questions in text."""

__version__ = "0.1.0"
