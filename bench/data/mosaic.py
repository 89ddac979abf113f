"""MosaicML Streaming without torchvision, which has no build for our torch: only its picture data sets need that."""

import importlib
import sys
from types import ModuleType


def streaming() -> ModuleType:
    """The package; what it imports from torchvision stands empty while it is imported."""
    # Asks once whether torchvision is there, and must be told the truth.
    import transformers  # noqa: F401

    if "streaming" not in sys.modules:
        datasets, functional = ModuleType("torchvision.datasets"), ModuleType("torchvision.transforms.functional")
        datasets.VisionDataset = datasets.CIFAR10 = object  # type: ignore[attr-defined]
        functional.to_tensor = None  # type: ignore[attr-defined]
        empty = {module.__name__: module for module in (datasets, functional)}
        empty |= {name: ModuleType(name) for name in ("torchvision", "torchvision.transforms")}
        sys.modules |= empty
        try:
            importlib.import_module("streaming")
        finally:
            for name in empty:
                del sys.modules[name]
    return sys.modules["streaming"]
