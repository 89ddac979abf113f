"""The hooks of `.pre-commit-config.yaml`, in a small repository of its own with the tools of this environment."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.left_out import REPOSITORY, need_command

PYPROJECT = '[tool.ruff.lint]\nselect = ["F"]\n[tool.mypy]\nstrict = true\nfiles = ["code.py"]\n'
RIGHT = '"""Adds."""\n\n\ndef add(a: int, b: int) -> int:\n    """Their sum."""\n    return a + b\n'


def git(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git there, without this machine's configuration."""
    command = [need_command("git"), "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "PRE_COMMIT_HOME": str(repository.parent / "pre-commit")}
    return subprocess.run(
        command, cwd=repository, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with the hooks installed, and a place to push to."""
    repository = tmp_path / "repository"
    repository.mkdir()
    shutil.copy(REPOSITORY / ".pre-commit-config.yaml", repository)
    (repository / "pyproject.toml").write_text(PYPROJECT)
    (repository / ".gitignore").write_text(".venv\n")
    (repository / ".venv").symlink_to(sys.prefix)
    assert git(repository, "init", "--quiet", "--initial-branch=main").returncode == 0
    assert git(tmp_path, "init", "--quiet", "--bare", "remote").returncode == 0
    assert git(repository, "remote", "add", "origin", "../remote").returncode == 0
    environment = os.environ | {"PRE_COMMIT_HOME": str(tmp_path / "pre-commit")}
    install = [sys.executable, "-m", "pre_commit", "install"]
    subprocess.run(install, cwd=repository, env=environment, capture_output=True, timeout=300, check=True)
    return repository


def commit(repository: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Commit everything, with this code."""
    (repository / "code.py").write_text(code)
    git(repository, "add", ".")
    return git(repository, "commit", "--quiet", "--message", "code")


def test_planted_faults_of_lint_and_format_are_refused(repository: Path) -> None:
    for planted, why in (
        (f"import os\n\n{RIGHT}", "`os` imported but unused"),
        (RIGHT.replace("a + b", "a+b"), "would be reformatted"),
    ):
        refused = commit(repository, planted)
        assert refused.returncode == 1 and why in refused.stdout + refused.stderr
        assert git(repository, "log").returncode != 0, "nothing was committed"
    accepted = commit(repository, RIGHT)
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr


def test_wrong_types_can_be_committed_but_not_pushed(repository: Path) -> None:
    assert commit(repository, RIGHT.replace("a + b", "str(a + b)")).returncode == 0
    refused = git(repository, "push", "--quiet", "origin", "main")
    assert refused.returncode != 0 and 'expected "int"' in refused.stdout + refused.stderr
    assert commit(repository, RIGHT).returncode == 0
    accepted = git(repository, "push", "--quiet", "origin", "main")
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
