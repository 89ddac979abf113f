"""One tiny model directory for the token tests."""

from pathlib import Path

import pytest

from vlm3.models.tiny import TinyConfig, build_tiny


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = [
        f"How far away is the point ({x}, {y})? Answer in metres. {x / 10:.1f}" for x in range(30) for y in range(9)
    ]
    return build_tiny(tmp_path_factory.mktemp("models") / "tiny", TinyConfig(), seed=0, corpus=texts)
