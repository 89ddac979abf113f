"""How a model wants to be asked survives its file; anything else is refused with one line."""

from pathlib import Path

import pytest

from vlm3.asking.spec import FILE, AskSpec
from vlm3.errors import ConfigError
from vlm3.geometry.depth import DepthKind
from vlm3.tasks.depth.task import AskedDepth, DepthTaskConfig
from vlm3.tasks.pose.task import AskedPose
from vlm3.tasks.spec_file import read_spec, read_spec_yaml, spec_json


def test_written_and_read_back(tmp_path: Path) -> None:
    depth = DepthTaskConfig(reference_range=100, decimals=1, depth_kind=DepthKind.Z)
    spec = AskSpec(
        (
            AskedDepth(focal_px=70.0, ask=depth),
            AskedPose(),
        )
    )
    (tmp_path / FILE).write_text(spec_json(spec))
    assert read_spec(tmp_path) == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file"),
        ("{", "not readable as JSON"),
        ('{"schema_version": 1, "focal_px": 70}', "schema_version 1, expected 2: export the model"),
        ('{"depth": {"focal_px": 0}}', "depth.focal_px"),
        ('{"depth": {"focal_px": 70, "focla_px": 3}}', "did you mean 'focal_px'"),
        ('{"depth": {"focal_px": Infinity}}', "depth.focal_px: Input should be a finite number"),
        ("[]", "(top)"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / FILE).write_text(text)
    with pytest.raises(ConfigError, match=message.replace("(", r"\(").replace(")", r"\)")):
        read_spec(tmp_path)


def test_a_foreign_models_way_of_asking_is_yaml(tmp_path: Path) -> None:
    path = tmp_path / "ask.yaml"
    path.write_text("depth: {focal_px: 500, ask: {reference_range: 1000}}\nanswer_tokens: 512\n")
    spec = read_spec_yaml(path)
    assert spec.needed(AskedDepth).focal_px == 500
    assert (spec.answer_tokens, spec.part(AskedPose)) == (512, None)
    path.write_text("depht: {}\n")
    with pytest.raises(ConfigError, match="did you mean 'depth'"):
        read_spec_yaml(path)
