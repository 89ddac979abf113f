"""Rotary positions of joined rows are those that the stock model computes for each row."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vlm3.models.load import ModelConfig, load_model
from vlm3.tokens.rotary import rotary_positions

Grid = tuple[int, int]
GRIDS = st.tuples(st.integers(1, 7), st.integers(1, 7))
ROWS = st.lists(
    st.tuples(st.integers(0, 5), st.lists(st.tuples(GRIDS, st.integers(1, 9)), min_size=1, max_size=2)),
    min_size=1,
    max_size=4,
)
"""Rows: tokens before the first image, then images and how many text tokens follow each."""


@pytest.fixture(scope="module")
def model(model_dir: Path) -> Any:
    return load_model(model_dir, ModelConfig()).model


def joined(rows: list[tuple[int, list[tuple[Grid, int]]]]) -> tuple[list[np.ndarray], list[list[Grid]]]:
    """Visual tokens and grids of each row."""
    visual, grids = [], []
    for before, images in rows:
        parts = [np.zeros(before, bool)]
        for (height, width), after in images:
            parts += [np.ones(height * width, bool), np.zeros(after, bool)]
        visual.append(np.concatenate(parts))
        grids.append([grid for grid, _ in images])
    return visual, grids


@given(ROWS)
def test_each_row_has_the_positions_of_the_stock_model(
    model: Any, rows: list[tuple[int, list[tuple[Grid, int]]]]
) -> None:
    visual, grids = joined(rows)
    found = rotary_positions(
        np.concatenate(visual), np.array([len(row) for row in visual]), np.array([g for row in grids for g in row])
    )
    expected = []
    for row, images in zip(visual, grids, strict=True):
        types = torch.from_numpy(row.astype(np.int32))[None]
        merge = model.config.vision_config.spatial_merge_size
        grid = torch.tensor([(1, height * merge, width * merge) for height, width in images])
        stock, _ = model.get_rope_index(torch.zeros_like(types).long(), types, image_grid_thw=grid)
        expected.append(np.concatenate([np.arange(len(row))[None], stock[:, 0].numpy()]))
    assert found.dtype == np.int64
    assert np.array_equal(found, np.concatenate(expected, axis=1))


def test_an_image_counts_its_rows_and_columns_and_the_text_after_it_goes_on_by_the_longer_side() -> None:
    visual = np.array([0, 1, 1, 1, 0, 0], bool)
    found = rotary_positions(visual, np.array([6]), np.array([(1, 3)]))
    assert found.tolist() == [
        [0, 1, 2, 3, 4, 5],
        [0, 1, 1, 1, 4, 5],
        [0, 1, 1, 1, 4, 5],
        [0, 1, 2, 3, 4, 5],
    ]


def test_images_that_do_not_fill_the_visual_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match=r"3 visual tokens for images of \[4\]"):
        rotary_positions(np.array([0, 1, 1, 1, 0], bool), np.array([5]), np.array([(2, 2)]))
