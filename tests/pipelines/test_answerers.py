"""Who is measured, and how it is known again."""

import shutil
from pathlib import Path

from pipelines.answerers import DirectoryAnswerer
from tests.export_fixtures import ASK


def test_a_model_stays_the_same_whatever_systems_leave_in_its_directory(export_dir: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(export_dir, model)
    answerer = DirectoryAnswerer(model, ASK, "cpu", None)
    before = answerer.identity
    (model / ".DS_Store").write_bytes(b"as a system likes")
    (model / "._config.json").write_bytes(b"as a system likes")
    assert answerer.identity == before
    (model / "generation_config.json").write_text("{}")
    assert answerer.identity != before
