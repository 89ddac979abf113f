"""The training loop, its engine and checkpoints."""
