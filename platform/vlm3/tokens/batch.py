"""Turns training rows into the tensors of one micro-batch; pixels stay uint8 until they are on the device."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vlm3.tokens.patches import patchify
from vlm3.tokens.rotary import rotary_positions
from vlm3.tokens.step_row import StepRow
from vlm3.tokens.vision import VisionSpec

IGNORED_LABEL = -100
"""Label of a token that is not part of an answer (the convention of PyTorch and Hugging Face)."""


@dataclass(frozen=True, slots=True, eq=False)
class ModelBatch:
    """A micro-batch on the host: B rows, joined into one of L tokens. Nothing is padded."""

    input_ids: torch.Tensor
    """int64 (1, L)."""
    labels: torch.Tensor
    """int64 (1, L), `IGNORED_LABEL` outside the answers and on the first token of each row: no row predicts it."""
    borders: torch.Tensor
    """int32 (B + 1,): row b is the tokens from `borders[b]` to `borders[b + 1]`."""
    rotary: torch.Tensor
    """int64 (4, 1, L), positions of each token in its own row (`rotary_positions`)."""
    pixels: torch.Tensor
    """uint8 (sum of H·W·3,), all images in one tensor: a single transfer, of an eighth of the patches' bytes.
    Read only: it may be the memory of a parcel."""
    image_sizes: tuple[tuple[int, int], ...]
    """(height, width) of each image; a row has one or two, in the order of the rows."""
    spec: VisionSpec
    positions: NDArray[np.int64]
    """(B,) stream positions, for the ledger."""
    components: NDArray[np.int64]
    """(B,) mixture components, for the shares."""
    attempts: NDArray[np.int64]
    """(B,) 0, or which replacement of an unusable sample the row is."""

    def images(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Views (H, W, 3) into flat `pixels`, one per image."""
        counts = [height * width * 3 for height, width in self.image_sizes]
        parts = torch.split(pixels, counts)
        return [part.view(height, width, 3) for part, (height, width) in zip(parts, self.image_sizes, strict=True)]

    def to_model_inputs(self, device: torch.device) -> dict[str, Any]:
        """Keyword arguments of `Qwen3VLForConditionalGeneration.forward` on `device`, patches made there.

        The library learns of the rows from the first axis of `position_ids`, as long as there is no attention mask
        (one of ones would hide nothing); attention of segments learns of them from the borders.
        """
        pixel_values, grid = patchify(self.images(self.pixels.to(device, non_blocking=True)), self.spec)
        borders = self.borders.to(device, non_blocking=True)
        longest = int(self.borders.diff().max())
        return {
            "input_ids": self.input_ids.to(device, non_blocking=True),
            "labels": self.labels.to(device, non_blocking=True),
            "position_ids": self.rotary.to(device, non_blocking=True),
            "pixel_values": pixel_values,
            "image_grid_thw": grid,
            "cu_seq_lens_q": borders,
            "cu_seq_lens_k": borders,
            "max_length_q": longest,
            "max_length_k": longest,
        }


def collate(rows: Sequence[StepRow], spec: VisionSpec) -> ModelBatch:
    """One micro-batch of all `rows`, in their order.

    Raises:
        ValueError: no rows, or a row whose visual tokens do not match its image.
    """
    if not rows:
        raise ValueError("a micro-batch needs at least one row")
    lengths = np.array([len(row.input_ids) for row in rows])
    borders = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.concatenate([row.input_ids for row in rows]).astype(np.int64)
    answers = np.concatenate([row.loss_mask for row in rows])
    answers[borders[:-1]] = False
    for row in rows:
        found = np.count_nonzero(row.input_ids == spec.image_token_id)
        wanted = sum(spec.tokens(*image.shape[:2]) for image in row.images)
        if found != wanted:
            seen = " and ".join(f"{image.shape[1]} x {image.shape[0]} px" for image in row.images)
            raise ValueError(f"position {row.position}: {found} visual tokens for {seen}, expected {wanted}")
    images = [image for row in rows for image in row.images]
    grids = np.array([image.shape[:2] for image in images]) // spec.token_px
    return ModelBatch(
        input_ids=torch.from_numpy(ids)[None],
        labels=torch.from_numpy(np.where(answers, ids, IGNORED_LABEL))[None],
        borders=torch.from_numpy(borders.astype(np.int32)),
        rotary=torch.from_numpy(rotary_positions(ids == spec.image_token_id, lengths, grids))[:, None],
        pixels=_tensor(_joined(images)),
        image_sizes=tuple((image.shape[0], image.shape[1]) for image in images),
        spec=spec,
        positions=np.array([row.position for row in rows], np.int64),
        components=np.array([row.component for row in rows], np.int64),
        attempts=np.array([row.attempt for row in rows], np.int64),
    )


def _joined(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The bytes of all images in one array; a view if they already lie one after the other, as those of a parcel do."""
    memory = images[0].base
    places = [image.__array_interface__["data"][0] for image in images]
    adjacent = all(a + image.nbytes == b for a, image, b in zip(places, images, places[1:], strict=False))
    together = all(image.base is memory and image.flags.c_contiguous for image in images)
    if not (adjacent and together and isinstance(memory, np.ndarray) and memory.flags.c_contiguous):
        return np.concatenate([image.reshape(-1) for image in images])
    start = places[0] - memory.__array_interface__["data"][0]
    return memory.reshape(-1).view(np.uint8)[start : start + sum(image.nbytes for image in images)]


def _tensor(pixels: NDArray[np.uint8]) -> torch.Tensor:
    with warnings.catch_warnings():
        # Objects in Ray's store are read-only, and nothing writes to them: patches are made in new memory.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(pixels)
