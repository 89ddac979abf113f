"""Loads an exported model with the description in its directory of how to ask it."""

from pathlib import Path

from vlm3.asking.calibration import read_calibration
from vlm3.asking.predictor import Predictor
from vlm3.tasks.spec_file import read_spec


def load_predictor(model_dir: Path, device: str, prefix_bytes: int = 0) -> Predictor:
    """A predictor from an exported directory.

    Args:
        model_dir: the export.
        device: `cpu` or `cuda`.
        prefix_bytes: memory for images that were asked about last: the next question about one is answered sooner.

    Raises:
        ConfigError: the directory is not one that this platform exported, or there is no such device.
    """
    # Imports torch, which takes seconds: programs that only ask an endpoint need not wait for it.
    from vlm3.infer.local_model import LocalModel

    ask = read_spec(model_dir)
    return Predictor(LocalModel.load(model_dir, device, prefix_bytes), ask, read_calibration(model_dir))
