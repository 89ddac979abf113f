"""The commands, one a file: `python jobs/train.py` in the repository, `vlm3 train` once installed."""
