"""`make dashboard` shows the store of the runs folder, whatever its name."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vlm3.tracking.sqlite_uri import sqlite_file

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_server_gets_the_store_of_a_folder_with_an_odd_name(tmp_path: Path) -> None:
    """With an `mlflow` that only says what it was given."""
    programs = {"python": f'exec "{sys.executable}" "$@"', "mlflow": "printf '%s\\n' \"$@\""}
    for name, line in programs.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o755)
    runs = tmp_path / "my runs #1 it's 50%25 ü"
    done = subprocess.run(
        ["make", "--old-file=setup", "dashboard", f"BIN={tmp_path / 'bin'}"],
        cwd=ROOT,
        env=os.environ | {"VLM3_RUNS": str(runs), "PYTHONPATH": str(ROOT / "platform")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    words = done.stdout.splitlines()
    assert sqlite_file(words[words.index("--backend-store-uri") + 1]) == runs / "mlflow.db"
    assert (runs / "mlflow.db").is_file()
