"""A tiny exported model, untrained, for tests of what uses one."""

from pathlib import Path

import pytest

from vlm3.asking.spec import AskSpec
from vlm3.models.export import export_model
from vlm3.models.load import ModelConfig, load_model, resolve_model
from vlm3.tasks.depth.task import AskedDepth, DepthTaskConfig
from vlm3.tasks.spec_file import spec_json

ASK = AskSpec((AskedDepth(focal_px=70, ask=DepthTaskConfig(reference_range=100, decimals=1, templates="compact-1")),))


@pytest.fixture(scope="session")
def export_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve")
    tiny = resolve_model(ModelConfig(), folder / "models", seed=0)
    return export_model(load_model(tiny, ModelConfig()), None, tiny, folder / "export", {"vlm3.json": spec_json(ASK)})
