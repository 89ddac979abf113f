"""What belongs to a release beside its wheel: the list of its dependencies (SBOM), as `make sbom` writes it."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.left_out import REPOSITORY, need_command

pytestmark = pytest.mark.long
"""Validating the list, a megabyte, takes seconds."""
PIN = re.compile(r"^([A-Za-z0-9_.-]+)==(\S+)((?:.*\\\n)*.*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def sbom(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Written and validated against the schema of CycloneDX, once."""
    file = tmp_path_factory.mktemp("sbom") / "new" / "sbom.cdx.json"
    make = [need_command("make"), "--old-file=setup", "sbom", f"BIN={Path(sys.executable).parent}", f"SBOM={file}"]
    done = subprocess.run(make, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    loaded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return loaded


def test_every_pin_of_the_lock_is_in_the_sbom_with_its_hashes(sbom: dict[str, Any]) -> None:
    locked = {
        (name, version): set(re.findall(r"--hash=sha256:([0-9a-f]{64})", rest))
        for name, version, rest in PIN.findall((REPOSITORY / "requirements.lock").read_text(encoding="utf-8"))
    }
    listed = {
        (component["name"], component["version"]): {
            digest["content"]
            for reference in component["externalReferences"]
            for digest in reference["hashes"]
            if digest["alg"] == "SHA-256"
        }
        for component in sbom["components"]
    }
    assert len(locked) > 100 and all(locked.values())
    assert listed == locked
    assert all(component["purl"].startswith("pkg:pypi/") for component in sbom["components"])


def test_the_sbom_is_about_this_version_and_is_the_same_each_time(sbom: dict[str, Any]) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    about = sbom["metadata"]["component"]
    assert (sbom["bomFormat"], sbom["specVersion"]) == ("CycloneDX", "1.6")
    assert (about["name"], about["version"]) == (project["name"], project["version"])
    assert about["licenses"][0]["license"]["id"] == project["license"]
    assert "timestamp" not in sbom["metadata"] and "serialNumber" not in sbom, "these differ at each call"
