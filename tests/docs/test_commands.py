"""Commands in the documentation: the scripts, options and make targets that they name exist."""

import contextlib
import io
import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from jobs.cli import COMMANDS
from tests.docs.pages import ROOT, Place, code, pages

SCRIPT = re.compile(r"\bpython (?P<script>(?:jobs|bench|docs)/[\w/]+\.py)(?P<rest>.*)")
COMMAND = re.compile(r"^(?:.*-- |\S+/)?vlm3 (?P<command>[a-z]+)(?P<rest>.*)")
MAKE = re.compile(r"^make (?P<rest>[a-z-].*)")
TARGETS = re.compile(r"^([a-z][a-z -]*):", re.MULTILINE)
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
COMMENT = re.compile(r"(?:^|\s)#\s.*")
NEXT = re.compile(r"\s*(?:&&|;|\|)\s*")
"""What stands between two commands of one line."""


def help_of_scripts(scripts: list[str]) -> dict[str, str]:
    """What `--help` prints, of each; all in this process, since most of the time goes into imports that they share."""
    printed = {}
    for script in scripts:
        sys.argv = [script, "--help"]
        with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
            runpy.run_path(script, run_name="__main__")
        printed[script] = said.getvalue()
    return printed


@cache
def job_options() -> dict[str, frozenset[str]]:
    """Options of each job."""
    scripts = [str(file.relative_to(ROOT)) for file in sorted(ROOT.glob("jobs/*.py")) if "__main__" in file.read_text()]
    command = [sys.executable, __file__, *scripts]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=True)
    return {script: frozenset(OPTION.findall(said)) for script, said in json.loads(done.stdout).items()}


def options(script: str) -> frozenset[str]:
    """Options of a script. Benchmarks start at once whatever they are called with, so their code is read."""
    if script.startswith("jobs/"):
        return job_options()[script]
    folder = (ROOT / script).parent
    return frozenset(OPTION.findall("\n".join(file.read_text() for file in folder.glob("*.py"))))


def commands(line: str) -> list[str]:
    """The commands of a line of code, without its comment."""
    return NEXT.split(COMMENT.sub("", line))


def wrong(script: str, rest: str) -> list[str]:
    """What is wrong with a call of a script."""
    if not (ROOT / script).is_file():
        return [f"there is no {script}"]
    return [f"{script} has no option {one}" for one in OPTION.findall(rest) if one not in options(script)]


def faults(page: Path) -> Iterator[str]:
    """What is wrong with the commands of a page."""
    targets = set(" ".join(TARGETS.findall((ROOT / "Makefile").read_text())).split())
    for place in code(page):
        for command in commands(place.text):
            if found := SCRIPT.search(command):
                yield from (f"{place}: {why}" for why in wrong(found["script"], found["rest"]))
            if found := COMMAND.search(command):
                name = found["command"]
                if name in COMMANDS:
                    yield from (f"{place}: {why}" for why in wrong(f"jobs/{COMMANDS[name].module}.py", found["rest"]))
                else:
                    yield f"{place}: vlm3 has no command {name}"
            if found := MAKE.search(command):
                named = [word for word in found["rest"].split() if re.fullmatch(r"[a-z-]+", word)]
                yield from (f"{place}: the Makefile has no target {one}" for one in named if one not in targets)


def test_commands_name_scripts_options_and_targets_that_exist() -> None:
    found = [fault for page in pages(ROOT) for fault in faults(page)]
    assert not found, "\n".join(found)


def test_commands_are_found() -> None:
    lines = [place.text for page in pages(ROOT) for place in code(page)]
    assert sum(1 for line in lines if SCRIPT.search(line)) > 30
    assert sum(1 for line in lines if MAKE.search(line)) > 3
    assert {"--resume", "--set", "--continue"} <= options("jobs/train.py")


def test_a_line_that_goes_on_is_one_command(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```\na \\\n  --b\nc\n```\nand `d`\n")
    assert list(code(page)) == [Place(page, 2, "a --b"), Place(page, 4, "c"), Place(page, 6, "d")]


@pytest.mark.parametrize(
    ("planted", "why"),
    [
        (
            "```\npython jobs/trian.py my.yaml\n```",
            "page.md:2: python jobs/trian.py my.yaml: there is no jobs/trian.py",
        ),
        ("Run `python jobs/train.py --resmue NAME`.", "jobs/train.py has no option --resmue"),
        ("| a |\n|---|\n| `python jobs/tune.py --worker 2` |", "jobs/tune.py has no option --worker"),
        ("```\npython jobs/train.py my.yaml \\\n  --nosuch 1\n```", "jobs/train.py has no option --nosuch"),
        ("`ray job submit -- python jobs/train.py --worker 2`", "jobs/train.py has no option --worker"),
        ("`python bench/bench_nosuch.py`", "there is no bench/bench_nosuch.py"),
        ("`python bench/data/bench_loaders.py --wram 30`", "bench/data/bench_loaders.py has no option --wram"),
        ("`vlm3 trian my.yaml`", "vlm3 has no command trian"),
        ("```\n.venv/bin/vlm3 serve --prot 8001\n```", "jobs/serve_depth.py has no option --prot"),
        ("```\nmake setup && make tset\n```", "the Makefile has no target tset"),
    ],
)
def test_a_planted_typo_is_caught(tmp_path: Path, planted: str, why: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(planted)
    (found,) = faults(page)
    assert why in found


@pytest.mark.parametrize(
    "right",
    [
        "`python jobs/train.py my.yaml --name NAME --continue`",
        "```\npython jobs/train.py   # --nosuch is said about something else\n```",
        "`make demo DATA=folder SEED=2`",
        "What is next is up to you: make `train` learn.",
    ],
)
def test_what_is_right_passes(tmp_path: Path, right: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(right)
    assert list(faults(page)) == []


if __name__ == "__main__":
    sys.stdout.write(json.dumps(help_of_scripts(sys.argv[1:])))
