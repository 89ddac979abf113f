"""Which scenes are held out."""

from vlm3.seeds import derive_seed
from vlm3.storage.split import Split


def split_of_scene(source: str, scene: str, heldout_share: float, seed: int) -> Split:
    """The split of a scene: by hash, so that it never changes when scenes are added, and never by frame."""
    draw = derive_seed(seed, "split", source, scene) / 2**64
    return Split.EVAL if draw < heldout_share else Split.TRAIN
