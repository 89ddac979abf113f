"""Files that an earlier version wrote, unpacked; tests/fixtures/earlier/README.md says what they are."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from vlm3.train.recipe import Recipe, load_recipe

FOLDER = Path(__file__).parent / "fixtures" / "earlier"
STOPPED_STEPS = "train.steps=30"
"""Of the run that was stopped."""


def unpack(folder: Path) -> Path:
    """`yard` and `marks` as they were ingested, and `runs`."""
    with tarfile.open(FOLDER / "651f415.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="session")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For tests that only read."""
    return unpack(tmp_path_factory.mktemp("earlier"))


@pytest.fixture(scope="session")
def said() -> dict[str, Any]:
    """What the version that wrote them makes of them."""
    found: dict[str, Any] = json.loads((FOLDER / "said.json").read_text(encoding="utf-8"))
    return found


def recipe_of(*overrides: str) -> Recipe:
    """The recipe of both runs."""
    return load_recipe(FOLDER / "recipe.yaml", overrides)
