"""MosaicML Streaming without torchvision, which has no build for our torch: only its picture data sets need that."""

import sys
from types import ModuleType


def streaming() -> ModuleType:
    """The package; the three names that it imports from torchvision stand empty."""
    for name in ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.transforms.functional"):
        sys.modules.setdefault(name, ModuleType(name))
    for name in ("VisionDataset", "CIFAR10"):
        setattr(sys.modules["torchvision.datasets"], name, object)
    sys.modules["torchvision.transforms.functional"].to_tensor = None  # type: ignore[attr-defined]
    import streaming as package

    return package
