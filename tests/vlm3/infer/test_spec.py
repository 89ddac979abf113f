"""How a model wants to be asked survives its file; anything else is refused with one line."""

from pathlib import Path

import pytest

from vlm3.errors import ConfigError
from vlm3.geometry.depth import DepthKind
from vlm3.infer.spec import FILE, AskSpec
from vlm3.tasks.depth import DepthTaskConfig


def test_written_and_read_back(tmp_path: Path) -> None:
    spec = AskSpec(focal_px=70.0, depth=DepthTaskConfig(reference_range=100, decimals=1, depth_kind=DepthKind.Z))
    spec.write(tmp_path)
    assert AskSpec.read(tmp_path) == spec
    assert (tmp_path / FILE).read_text() == spec.to_json()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file"),
        ("{", "not readable as JSON"),
        ('{"schema_version": 2, "focal_px": 70}', "schema_version"),
        ('{"focal_px": 0}', "focal_px"),
        ('{"focal_px": 70, "focla": 3}', "did you mean 'focal_px'"),
        ("[]", "(top)"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / FILE).write_text(text)
    with pytest.raises(ConfigError, match=message.replace("(", r"\(").replace(")", r"\)")):
        AskSpec.read(tmp_path)
