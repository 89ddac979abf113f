"""Whatever is killed, nothing of the stack stays, and the next start has its data."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.infra.local.stacks import COMMANDS, Stack, a_stack

pytestmark = [pytest.mark.long, pytest.mark.infra]
END_S = 60
# Each kill needs a start of the whole stack: `make test-kills` ends every part, `make test-infra` two of them.
KILLED = list(COMMANDS) if os.environ.get("VLM3_KILL_ALL") else random.Random(0).sample(list(COMMANDS), 2)


@pytest.fixture(scope="module")
def shared() -> Iterator[Stack]:
    with a_stack() as stack:
        yield stack


@pytest.fixture
def stack(shared: Stack) -> Stack:
    """Up."""
    shared.up()
    return shared


def logged(stack: Stack, script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"from mlflow import MlflowClient; client = MlflowClient()\n{script}"],
        env=stack.client(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


@pytest.fixture(scope="module")
def made() -> list[str]:
    """Experiments that earlier tests made before they killed a part."""
    return []


@pytest.mark.parametrize("name", KILLED)
def test_all_end_when_a_part_is_killed(stack: Stack, made: list[str], name: str) -> None:
    made.append(f"before {name}")
    known = logged(stack, f"client.create_experiment({made[-1]!r}); print(*client.search_experiments(), sep=chr(10))")
    assert [experiment for experiment in made if experiment not in known] == []
    family = stack.family()
    stack.part(name).kill()
    stack.assert_nothing_left(family, END_S)
    assert f"error: {name} was ended by SIGKILL" in stack.log()


def test_all_end_when_the_supervisor_is_killed(stack: Stack) -> None:
    family = stack.family()
    stack.supervisor().kill()
    stack.assert_nothing_left(family, END_S)


def test_all_end_when_the_keeper_is_killed(stack: Stack) -> None:
    family = stack.family()
    family[0].kill()
    stack.assert_nothing_left(family, END_S)
