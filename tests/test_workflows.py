"""The files that tell hosting services to run .ci/run: valid, with few rights, and about commands that exist."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.left_out import REPOSITORY, packages

GITLAB = REPOSITORY / ".gitlab-ci.yml"
CHECK, RELEASE = (REPOSITORY / ".github" / "workflows" / f"{name}.yml" for name in ("check", "release"))
GITHUB = [CHECK, RELEASE]
TOOLS = Path(sys.executable).parent
BASH = shutil.which("bash") or "bash"


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a tool in the repository."""
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def refused(schema: str, *files: Path) -> set[Path]:
    """Which of the files a schema refuses; the tool brings the schemas of the hosting services along."""
    tool = (sys.executable, "-m", "check_jsonschema", "--output-format", "json", "--builtin-schema", schema)
    done = run(*tool, *files)
    assert done.returncode in (0, 1), done.stderr
    return {Path(error["filename"]) for error in json.loads(done.stdout)["errors"]}


def audit(folder: Path) -> subprocess.CompletedProcess[str]:
    """Look for rights, injections and other weak spots, without the network."""
    return run(TOOLS / "zizmor", "--offline", "--no-progress", "--persona", "pedantic", folder)


def jobs(file: Path) -> dict[str, Any]:
    """Jobs of a GitHub workflow."""
    loaded: dict[str, Any] = YAML(typ="safe").load(file)["jobs"]
    return loaded


def steps(file: Path) -> list[dict[str, Any]]:
    """Steps of all jobs of a GitHub workflow."""
    return [step for job in jobs(file).values() for step in job["steps"]]


@pytest.mark.parametrize(
    ("schema", "files", "typos"),
    [
        ("vendor.github-workflows", GITHUB, [("runs-on:", "runs_on:"), ("contents: read", "contents: raed")]),
        ("vendor.gitlab-ci", [GITLAB], [("script:", "scripts:"), ("when: never", "when: nevr")]),
    ],
)
def test_the_services_accept_the_files_and_refuse_planted_typos(
    tmp_path: Path, schema: str, files: list[Path], typos: list[tuple[str, str]]
) -> None:
    planted = set()
    for number, (right, wrong) in enumerate(typos):
        copy = tmp_path / f"{number}.yml"
        copy.write_text(files[-1].read_text().replace(right, wrong, 1))
        planted.add(copy)
    assert refused(schema, *files, *planted) == planted


def test_the_audit_finds_nothing_here_and_finds_what_is_planted(tmp_path: Path) -> None:
    clean = audit(REPOSITORY / ".github")
    assert clean.returncode == 0 and "No findings" in clean.stdout, clean.stdout
    shutil.copytree(REPOSITORY / ".github", tmp_path / ".github")
    planted = CHECK.read_text().replace("contents: read", "contents: write")
    planted = planted.replace("run: .ci/run", "run: echo ${{ github.event.pull_request.title }}")
    planted = planted.replace("persist-credentials: false", "fetch-depth: 1")
    (tmp_path / ".github" / "workflows" / "check.yml").write_text(planted)
    found = audit(tmp_path / ".github")
    assert found.returncode != 0
    assert {"excessive-permissions", "template-injection", "artipacked"} <= set(
        re.findall(r"\[([a-z-]+)\]", found.stdout)
    )


@pytest.mark.parametrize("file", GITHUB, ids=lambda file: file.stem)
def test_jobs_may_read_only_have_a_limit_and_name_actions_exactly(file: Path) -> None:
    assert YAML(typ="safe").load(file)["permissions"] == {"contents": "read"}
    for job in jobs(file).values():
        assert "permissions" not in job and job["timeout-minutes"] == 60
    actions = [step["uses"] for step in steps(file) if "uses" in step]
    assert actions and all(re.fullmatch(r"actions/[a-z-]+@v\d+\.\d+\.\d+", action) for action in actions), actions


def test_what_they_run_exists() -> None:
    loaded = YAML(typ="safe").load(GITLAB)
    gitlab = [line for job in loaded.values() if isinstance(job, dict) for line in job.get("script", [])]
    github = [step["run"] for file in GITHUB for step in steps(file) if "run" in step]
    named = re.findall(r"^([a-z][a-z -]*):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    targets = set(" ".join(named).split())
    for lines in (github, gitlab):
        assert ".ci/run" in lines
        made = [word for line in lines if line.startswith("make ") for word in line.split()[1:] if "=" not in word]
        assert {"test", "dist", "sbom"} <= set(made) <= targets


@pytest.mark.parametrize("file", GITHUB, ids=lambda file: file.stem)
def test_the_debian_packages_of_the_tests_are_installed(file: Path) -> None:
    """A job there is not root, so .ci/run cannot install them."""
    (command, *_) = [step["run"] for step in steps(file) if "apt-get install" in step.get("run", "")]
    listed = re.search(r"\$\((sed .*)\)$", command)
    assert listed is not None
    said = run(BASH, "-c", listed[1])
    assert set(said.stdout.split()) == set(packages().values()), said.stderr


@pytest.mark.parametrize(("tag", "accepted"), [("v{}", True), ("v{}.1", False), ("{}", True), ("vlm3-{}", False)])
def test_a_tag_that_is_not_the_version_ends_a_release(tag: str, accepted: bool) -> None:
    found = re.search(r'^version = "(.+)"$', (REPOSITORY / "pyproject.toml").read_text(), re.MULTILINE)
    assert found is not None
    (github,) = [step["run"] for step in steps(RELEASE) if "grep" in step.get("run", "")]
    (gitlab,) = [line for line in YAML(typ="safe").load(GITLAB)["release"]["script"] if "grep" in line]
    named = tag.format(found[1])
    for command, variable in ((github, "GITHUB_REF_NAME"), (gitlab, "CI_COMMIT_TAG")):
        assert (run(BASH, "-c", command, **{variable: named}).returncode == 0) is accepted
