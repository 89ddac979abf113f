"""The script that checks a clean checkout, run in a small repository of its own whose Makefile plays the parts."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.left_out import DEBIAN_PACKAGES, need_command, packages

ROOT = Path(__file__).resolve().parent.parent
MAKEFILE = """
setup check:
\t@echo run-$@
test:
\t@echo "VLM3_TEST_DATA=$${VLM3_TEST_DATA-unset}"; cat; %s
test-long:
\t@echo run-$@; %s
test-properties:
\t@echo run-$@; %s
"""
DATA, DEBIAN = "skipped for want of data", "skipped for want of a Debian package"
LISTED = "# Of the tests.\nnosuch # nosuch-command: a test\nmake   # make: the targets\n"


def said(data: int = 0, debian: int = 0) -> str:
    """A shell command that ends as the tests do."""
    return f"echo '{DATA}: {data} (data folder: x)'; echo '{DEBIAN}: {debian} (listed in y)'"


def run_ci(
    folder: Path,
    test: str,
    test_long: str = said(),
    listed: str = "",
    *,
    user: int = 0,
    makefile: str = MAKEFILE,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run it as user number `user`, with an apt-get that notes how it is called; uv is there, so none is installed."""
    need_command("make")
    repository, commands = folder / "repository", folder / "bin"
    for made in (repository / ".ci", repository / "tests", commands):
        made.mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "run", repository / ".ci" / "run")
    (repository / "tests" / "debian-packages.txt").write_text(listed)
    (repository / "Makefile").write_text(makefile % (test, test_long, said()))
    for name, script in (("apt-get", f'echo "$@" >> {folder}/apt'), ("id", f"echo {user}"), ("uv", "")):
        (commands / name).write_text(f"#!/bin/sh\n{script}\n")
        (commands / name).chmod(0o755)
    env = {"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}", "CI": "true"} | environment
    command = [repository / ".ci" / "run"]
    return subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_all_parts_run_and_are_timed(tmp_path: Path) -> None:
    done = run_ci(tmp_path, said(data=3), VLM3_TEST_DATA="")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    parts = ("run-setup", "run-check", "VLM3_TEST_DATA=unset", "run-test-long", "run-test-properties")
    began = [lines.index(line) for line in parts]
    assert began == sorted(began)
    timed = [re.fullmatch(r"== (.+): \d+ s, exit 0", line) for line in lines]
    assert [match[1] for match in timed if match] == [
        "debian",
        "setup",
        "check",
        "test",
        "test-long",
        "test-properties",
    ]
    assert f"{DATA}: 3 (data folder: x)" in lines
    assert re.fullmatch(r"== total: \d+ s", lines[-1])
    assert not (tmp_path / "apt").exists(), "nothing was missing"


@pytest.mark.parametrize("where", ["beside", "named"])
@pytest.mark.parametrize("target", ["test", "test-long"])
def test_no_test_may_lack_data_where_the_data_is(tmp_path: Path, where: str, target: str) -> None:
    data = tmp_path / ("two/shared/data" if where == "beside" else "elsewhere")
    data.mkdir(parents=True)
    named = {} if where == "beside" else {"VLM3_TEST_DATA": str(data)}
    fine = run_ci(tmp_path / "one", said(), **named)
    assert fine.returncode == 0, fine.stderr
    lacking = run_ci(tmp_path / "two", *([said(data=10)] if target == "test" else [said(), said(data=10)]), **named)
    assert lacking.returncode == 1
    assert "exists, yet tests were skipped" in lacking.stderr


def test_failing_tests_and_missing_counts_fail(tmp_path: Path) -> None:
    for number, ends in enumerate([(f"{said()}; exit 1",), (said(), f"{said()}; exit 1")]):
        failed = run_ci(tmp_path / str(number), *ends)
        assert failed.returncode != 0
        assert f"== {'test-long' if number else 'test'}: " in failed.stdout and "exit 2" in failed.stdout
    silent = run_ci(tmp_path / "silent", "echo 9 passed")
    assert silent.returncode == 1 and "did not say how many lacked data" in silent.stderr
    half = run_ci(tmp_path / "half", f"echo '{DATA}: 0 (data folder: x)'")
    assert half.returncode == 1 and "did not say how many lacked a Debian package" in half.stderr


def test_where_uv_fails_pip_installs(tmp_path: Path) -> None:
    broken = MAKEFILE.replace("setup check:", 'setup:\n\t@test -z "$${UV-set}" && echo run-setup\ncheck:')
    done = run_ci(tmp_path, said(), makefile=broken)
    assert done.returncode == 0, done.stderr
    assert "run-setup" in done.stdout.splitlines() and "Error" in done.stderr


def test_root_installs_the_packages_whose_commands_are_missing(tmp_path: Path) -> None:
    done = run_ci(tmp_path, said(), listed=LISTED)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "apt").read_text().splitlines() == [
        "update -qq",
        "install -qq -y --no-install-recommends nosuch",
    ]


def test_others_are_told_what_to_install_and_no_test_may_lack_it(tmp_path: Path) -> None:
    done = run_ci(tmp_path, said(debian=2), listed=LISTED, user=1000)
    assert done.returncode == 1 and not (tmp_path / "apt").exists()
    assert "missing: apt-get install nosuch" in done.stdout
    assert "tests were skipped for want of packages that tests/debian-packages.txt lists" in done.stderr


def test_what_is_listed_can_be_read_and_a_command_that_is_not_there_skips_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert packages()["make"] == "make" and packages()["git"] == "git"
    lines = [line for line in DEBIAN_PACKAGES.read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9.+-]+ +# [\w.+-]+(, [\w.+-]+)*: .+", line) for line in lines), lines
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match=r"for want of a Debian package: .*apt-get install git$"):
        need_command("git")
