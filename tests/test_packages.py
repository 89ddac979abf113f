"""The wheel and the source distribution hold all that a training needs."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.ray_heads import SMALL

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.long


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VLM3_RUNS")}
    done = subprocess.run(
        command, cwd=cwd, env=clean | environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the files that git knows, as a release would be."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("sdist")
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    build = f"from setuptools.build_meta import build_sdist; build_sdist({str(built)!r})"
    run(sys.executable, "-c", build, cwd=source)
    (archive,) = built.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the source distribution, as pip does where there is no wheel."""
    built = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", built, sdist, cwd=built)
    (archive,) = built.glob("*.whl")
    return archive


def test_the_archives_hold_code_recipes_and_templates_only(sdist: Path, wheel: Path) -> None:
    files = set(zipfile.ZipFile(wheel).namelist())
    trees = {"vlm3": ROOT / "platform" / "vlm3", **{name: ROOT / name for name in ("pipelines", "serve", "jobs")}}
    wanted = {
        f"{name}/{file.relative_to(tree).as_posix()}"
        for name, tree in trees.items()
        for file in tree.rglob("*")
        if file.suffix in (".py", ".yaml", ".jinja") or file.name == "py.typed"
    }
    assert {file for file in files if ".dist-info/" not in file} == wanted
    with tarfile.open(sdist) as archive:
        tops = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    assert {"platform", "pipelines", "serve", "jobs", "pyproject.toml", "README.md", "LICENSE"} <= tops


def test_an_installed_wheel_trains_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    home, empty = tmp_path / "venv", tmp_path / "empty"
    empty.mkdir()
    run(sys.executable, "-m", "venv", home, cwd=empty)
    python = home / "bin" / "python"
    run(python, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps", "--no-index", wheel, cwd=empty)
    # Its dependencies are those of the environment of the tests: to install them again takes minutes.
    own = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=empty).strip())
    (own / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    where = "import vlm3, pipelines, serve, jobs; print(*(m.__file__ for m in (vlm3, pipelines, serve, jobs)))"
    assert all(Path(file).is_relative_to(own) for file in run(python, "-c", where, cwd=empty).split())
    settings = [item for setting in SMALL for item in ("--set", setting)]
    said = run(home / "bin" / "vlm3", "train", "rooms", "--name", "first", *settings, cwd=empty)
    assert "export: " in said
    assert (empty / "runs" / "train" / "first" / "export" / "vlm3.json").is_file()
    assert "vlm3 benchmark" in run(home / "bin" / "vlm3", "benchmark", "--help", cwd=empty)
