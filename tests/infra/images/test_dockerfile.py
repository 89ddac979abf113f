"""The Dockerfile: sound to hadolint, exact about its base, and given only what images need."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from docker.utils.build import exclude_paths
from packaging.specifiers import SpecifierSet

REPOSITORY = Path(__file__).resolve().parents[3]
DOCKERFILE = REPOSITORY / "infra" / "images" / "Dockerfile"
TEXT = DOCKERFILE.read_text(encoding="utf-8")
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
PRESENT = [
    "requirements.lock",
    "infra/images/serving.lock",
    "jobs/recipes/rooms.yaml",
    "platform/vlm3/models/chat_template.jinja",
]
SECRET_OR_LARGE = [
    ".env",
    ".git/config",
    "runs/mlflow.db",
    "infra/iam/key.json",
    "jobs/__pycache__/a.pyc",
    ".venv/bin/a",
]


def hadolint(file: Path) -> subprocess.CompletedProcess[str]:
    binary = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or "hadolint"
    return subprocess.run([binary, "--no-color", str(file)], capture_output=True, text=True, check=False)


def stages() -> dict[str, list[str]]:
    """Name of each stage: its instructions, one a line."""
    found: dict[str, list[str]] = {}
    for line in TEXT.replace("\\\n", " ").splitlines():
        if start := re.fullmatch(r"FROM \S+ AS (\w+)", line):
            found[start[1]] = []
        elif found and line and not line.startswith("#"):
            found[list(found)[-1]].append(re.sub(r"\s+", " ", line))
    return found


def test_hadolint_finds_nothing() -> None:
    done = hadolint(DOCKERFILE)
    assert (done.stdout, done.returncode) == ("", 0)


def test_hadolint_finds_a_planted_tag_that_moves(tmp_path: Path) -> None:
    planted = tmp_path / "Dockerfile"
    planted.write_text("FROM debian:latest\n" + TEXT, encoding="utf-8")
    done = hadolint(planted)
    assert done.returncode == 1
    assert "DL3007" in done.stdout


def test_the_base_has_an_exact_tag_and_a_digest_only_from_the_builder() -> None:
    assert re.search(r"^ARG DEBIAN=debian:\d+\.\d+-slim$", TEXT, re.M)
    assert re.search(r"^ARG DEBIAN_DIGEST=$", TEXT, re.M)
    assert "FROM ${DEBIAN}${DEBIAN_DIGEST:+@$DEBIAN_DIGEST} AS base\n" in TEXT
    assert not re.search(r"sha256:[0-9a-f]", TEXT)


def test_python_and_the_version_are_those_of_the_project() -> None:
    pythons = set(re.findall(r"python(3\.\d+)", TEXT))
    assert len(pythons) == 1
    assert pythons.pop() in SpecifierSet(PYPROJECT["project"]["requires-python"])
    assert f'image.version="{PYPROJECT["project"]["version"]}"' in TEXT


def test_every_image_runs_as_a_numbered_user_without_rights() -> None:
    assert list(stages()) == ["base", "cpu", "cuda", "serving"]
    for name, instructions in stages().items():
        assert name == "base" or instructions[-1] == "USER 1000:1000", name
        assert not any(instruction.startswith(("ADD", "VOLUME")) for instruction in instructions), name


def test_every_installation_is_checked_against_hashes() -> None:
    installs = re.findall(r"(?:uv )?pip install [^&\n]+", TEXT.replace("\\\n", " "))
    assert len(installs) == 7
    for install in installs:
        # The project itself is what was copied.
        assert "--require-hashes" in install or install.strip() == "uv pip install --no-deps --no-build-isolation ."


def test_images_get_what_they_copy_and_neither_secrets_nor_runs(tmp_path: Path) -> None:
    for name in (*PRESENT, *SECRET_OR_LARGE):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x", encoding="utf-8")
    patterns = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sent = exclude_paths(str(tmp_path), [line for line in patterns if line and not line.startswith("#")])
    assert {name for name in sent if (tmp_path / name).is_file()} == set(PRESENT)
    copied = [word for lines in stages().values() for line in lines if line.startswith("COPY") for word in line.split()]
    for name in {word for word in copied if word.endswith(".lock")}:
        assert (REPOSITORY / name).is_file(), f"{name}: the Dockerfile copies it, and it is not there"
