"""The command `vlm3` runs the jobs, and finds the shipped recipes by name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.cli import COMMANDS
from jobs.recipes import DEFAULT_RECIPE, FOLDER, recipe_file
from vlm3.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


def vlm3(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command as the installed script starts it."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'platform'}{os.pathsep}{ROOT}"}
    script = f"import sys; sys.argv = {['vlm3', *arguments]!r}; from jobs.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", script], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_every_job_has_a_command(tmp_path: Path) -> None:
    jobs = {file.stem for file in (ROOT / "jobs").glob("*.py")} - {"__init__", "cli"}
    assert {command.module for command in COMMANDS.values()} == jobs
    said = vlm3("--help", cwd=tmp_path).stdout
    assert all(f"  {name} " in said for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_shows_its_options(name: str, tmp_path: Path) -> None:
    done = vlm3(name, "--help", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith(f"usage: vlm3 {name} "), done.stderr


def test_an_error_is_one_line(tmp_path: Path) -> None:
    done = vlm3("trian", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "error: vlm3 trian: no such command; did you mean 'train'?\n")
    done = vlm3("train", "four_tasks", "--set", "train.stepz=2", cwd=tmp_path)
    assert done.returncode == 2 and "did you mean 'steps'?" in done.stderr and done.stderr.count("\n") == 1


def test_a_shipped_recipe_is_found_by_its_name_and_a_file_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert recipe_file(Path("four_tasks")) == recipe_file(Path("four_tasks.yaml")) == FOLDER / "four_tasks.yaml"
    own = tmp_path / "rooms.yaml"
    own.touch()
    assert recipe_file(Path("rooms.yaml")) == Path("rooms.yaml")
    assert recipe_file(Path("rooms")) == DEFAULT_RECIPE
    assert recipe_file(Path("elsewhere/rooms.yaml")) == Path("elsewhere/rooms.yaml")
    with pytest.raises(ConfigError, match=r"mine\.yaml: no such file, and none of the shipped recipes: four_tasks, "):
        recipe_file(Path("mine.yaml"))
