"""What the images install: exact, with hashes, and the pins of pyproject."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parents[3]
IMAGES = REPOSITORY / "infra" / "images"
ROOT_LOCK = REPOSITORY / "requirements.lock"
LOCKS = [ROOT_LOCK, *sorted(IMAGES.glob("*.lock"))]
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
LINE = re.compile(r"(?P<name>[\w.-]+)==(?P<version>[\w.+!]+)( ; [^\\]+?)?( --hash=sha256:[0-9a-f]{64})+")


def name_of(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text).lower()


def pins(lock: str) -> dict[str, str]:
    """Package: version, of a lock's text; fails at a line that is not exact or has no hash."""
    found: dict[str, str] = {}
    joined = re.sub(r" *\\\n *", " ", lock)
    for line in joined.splitlines():
        if line.strip() and not line.startswith("#"):
            match = LINE.fullmatch(line)
            assert match, f"not NAME==VERSION with hashes: {line[:120]}"
            found[name_of(match["name"])] = match["version"]
    return found


def constraints() -> dict[str, str]:
    """Package: version, of those that the tests run with."""
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    parsed = [line.split("==") for line in lines if "==" in line and not line.startswith("#")]
    return {name_of(name): version.strip() for name, version in parsed}


DEPENDENCIES = {name_of(each.name): each for each in map(Requirement, PYPROJECT["project"]["dependencies"])}
TESTED = constraints()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_requirement_is_exact_and_has_hashes(lock: Path) -> None:
    assert pins(lock.read_text(encoding="utf-8"))


def test_a_requirement_without_a_hash_is_caught() -> None:
    text = (IMAGES / "build.lock").read_text(encoding="utf-8") + "ray==2.60.0\n"
    with pytest.raises(AssertionError, match=r"ray==2\.60\.0"):
        pins(text)


def test_the_lock_of_the_project_fits_pyproject_and_is_what_is_tested() -> None:
    locked = pins(ROOT_LOCK.read_text(encoding="utf-8"))
    for name, requirement in DEPENDENCIES.items():
        assert locked[name] in requirement.specifier, name
    both = locked.keys() & TESTED.keys()
    assert {"ray", "transformers", "pyarrow"} <= both
    assert {name: locked[name] for name in both} == {name: TESTED[name] for name in both}


def test_torch_without_cuda_is_the_same_torch() -> None:
    locked = pins((IMAGES / "torch-cpu.lock").read_text(encoding="utf-8"))
    assert locked == {"torch": pins(ROOT_LOCK.read_text(encoding="utf-8"))["torch"] + "+cpu"}


def test_what_builds_packages_is_what_builds_the_project() -> None:
    locked = pins((IMAGES / "build.lock").read_text(encoding="utf-8"))
    uv = locked.pop("uv")
    assert [f"{name}=={version}" for name, version in locked.items()] == PYPROJECT["build-system"]["requires"]
    assert f"uv=={uv} " in (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8"), "what is tested"


def test_the_serving_image_has_the_ray_of_the_project() -> None:
    locked = pins((IMAGES / "serving.lock").read_text(encoding="utf-8"))
    assert locked["ray"] == TESTED["ray"]
    assert f"ray[llm]=={TESTED['ray']}\n" in (IMAGES / "serving.in").read_text(encoding="utf-8")
    assert "vllm" in locked


def test_the_cpu_image_leaves_out_cuda_and_nothing_else() -> None:
    """Run the Dockerfile's own sed on the lock."""
    dockerfile = (IMAGES / "Dockerfile").read_text(encoding="utf-8")
    script = re.search(r"sed '(.*)' /opt/locks/requirements.lock", dockerfile)
    assert script
    done = subprocess.run(["sed", script[1], str(ROOT_LOCK)], capture_output=True, text=True, check=True)
    everything, kept = pins(ROOT_LOCK.read_text(encoding="utf-8")), pins(done.stdout)
    left_out = everything.keys() - kept.keys()
    assert {name for name in left_out if not name.startswith(("cuda-", "nvidia-"))} == {"torch", "triton"}
    assert "nvidia-cudnn-cu13" in left_out
    assert {name: everything[name] for name in kept} == kept
