"""The script that checks a clean checkout, run in a small repository of its own whose Makefile plays the parts."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAKEFILE = """
setup check:
\t@echo run-$@
test:
\t@echo "VLM3_TEST_DATA=$${VLM3_TEST_DATA-unset}"; cat; echo '%s'; exit %d
"""


def run_ci(folder: Path, line: str, status: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    repository = folder / "repository"
    (repository / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "run", repository / ".ci" / "run")
    (repository / "Makefile").write_text(MAKEFILE % (line, status))
    env = {"PATH": os.environ["PATH"], "CI": "true"} | environment
    command = [repository / ".ci" / "run"]
    return subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_all_parts_run_and_are_timed(tmp_path: Path) -> None:
    done = run_ci(tmp_path, "skipped for want of data: 3 (data folder: /nowhere)", VLM3_TEST_DATA="")
    assert done.returncode == 0, done.stderr
    assert "VLM3_TEST_DATA=unset" in done.stdout
    lines = done.stdout.splitlines()
    assert lines.index("run-setup") < lines.index("run-check") < lines.index("VLM3_TEST_DATA=unset")
    for part in ("setup", "check", "test"):
        assert any(line.startswith(f"== {part}: ") and line.endswith(" s, exit 0") for line in lines)
    assert lines[-2] == "skipped for want of data: 3 (data folder: /nowhere)"


@pytest.mark.parametrize("where", ["beside", "named"])
def test_no_test_may_lack_data_where_the_data_is(tmp_path: Path, where: str) -> None:
    data = tmp_path / ("two/shared/data" if where == "beside" else "elsewhere")
    data.mkdir(parents=True)
    named = {} if where == "beside" else {"VLM3_TEST_DATA": str(data)}
    fine = run_ci(tmp_path / "one", "skipped for want of data: 0 (data folder: x)", **named)
    assert fine.returncode == 0, fine.stderr
    lacking = run_ci(tmp_path / "two", "skipped for want of data: 10 (data folder: x)", **named)
    assert lacking.returncode == 1
    assert "exists, yet tests were skipped" in lacking.stderr


def test_failing_tests_and_a_missing_count_fail(tmp_path: Path) -> None:
    failed = run_ci(tmp_path / "one", "skipped for want of data: 0 (data folder: x)", status=1)
    assert failed.returncode != 0
    assert "exit 2" in failed.stdout
    silent = run_ci(tmp_path / "two", "9 passed")
    assert silent.returncode == 1
    assert "did not say how many lacked data" in silent.stderr
