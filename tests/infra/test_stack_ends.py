"""However the stack ends, nothing of it stays but its data, which the next start has."""

import os
import random
from pathlib import Path

import pytest

from tests.infra.conftest import Used
from tests.infra.local.stacks import COMMANDS, Stack

pytestmark = [pytest.mark.long, pytest.mark.infra]
END_S = 60
SUPERVISOR, KEEPER = "the supervisor", "the keeper"
# After each, the whole stack is started anew: `make test-kills` ends every part, `make test-long` two of them.
KILLED = [
    *(COMMANDS if os.environ.get("VLM3_KILL_ALL") else random.Random(0).sample(list(COMMANDS), 2)),
    SUPERVISOR,
    KEEPER,
]


def test_down_leaves_the_data_and_nothing_else(used: Used) -> None:
    stack, runs = used.stack, "SELECT run_uuid FROM runs ORDER BY 1"
    before, objects, family = stack.rows(runs), stack.objects(), stack.family()
    ray_folder = Path(stack.state.ray_folder)
    assert len(family) > 10 and ray_folder.is_dir()
    done = stack.does("down")
    assert done.returncode == 0, done.stderr
    # `down` returns when the last process lets go of the lock: it still has to exit.
    stack.assert_nothing_left(family, within_s=10)
    assert not ray_folder.exists()
    assert stack.does("down").returncode == 0, "nothing to do is no error"

    stack.up()
    assert (stack.rows(runs), stack.objects()) == (before, objects)


@pytest.fixture(scope="module")
def made() -> list[str]:
    """Experiments that earlier tests made before they killed something."""
    return []


@pytest.mark.parametrize("name", KILLED)
def test_all_end_when_something_is_killed(stack_up: Stack, made: list[str], name: str) -> None:
    made.append(f"before {name}")
    script = f"client.create_experiment({made[-1]!r}); print(*client.search_experiments(), sep=chr(10))"
    known = stack_up.mlflow(script)
    assert [experiment for experiment in made if experiment not in known] == []
    family = stack_up.family()
    victims = {KEEPER: family[0], SUPERVISOR: stack_up.supervisor()}
    (victims.get(name) or stack_up.part(name)).kill()
    stack_up.assert_nothing_left(family, END_S)
    if name in COMMANDS:
        assert f"error: {name} was ended by SIGKILL" in stack_up.log()
