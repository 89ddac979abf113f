"""The local stack: `python -m infra.local.stack up|down|status|run|backup FOLDER|restore FOLDER`."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.table import Table

from infra.local import backup
from infra.local.credentials import ADMIN, FOLDER, Credentials
from infra.local.keeper import keep
from infra.local.parts import all_parts, client_file, prepare
from infra.local.settings import ROOT, Settings, settings_from_environment
from infra.local.state import State, ended, only_one, running_state, signal_keeper
from infra.local.supervisor import POLL_S, started, watch
from pipelines.cluster import new_folder
from vlm3 import terminal
from vlm3.errors import UserError
from vlm3.job import run_job

END_S = 90.0
"""Seconds within which a stack ends."""
LOG = "stack.log"
ERROR = "error: "


class StackError(UserError):
    """The stack does not run, does not start or does not end, or one of its parts does not answer."""


def main() -> None:
    """Parse the command line and do it."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.stack", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start the stack in the background, wait until all parts are healthy")
    commands.add_parser("down", help="end it; its data stay")
    commands.add_parser("status", help="show the parts; the exit code is 0 only when all are healthy")
    commands.add_parser("run", help="run it in the foreground, until Ctrl-C")
    saving = commands.add_parser("backup", help="copy runs, models, users and artifacts of MLflow to a new folder")
    saving.add_argument("target", type=Path)
    restoring = commands.add_parser("restore", help="make a stack from a backup, where there is none")
    restoring.add_argument("source", type=Path)
    arguments = parser.parse_args()
    terminal.start()
    settings = settings_from_environment()
    commands_by_name: dict[str, Callable[[], None]] = {
        "up": lambda: up(settings),
        "down": lambda: down(settings),
        "status": lambda: status(settings),
        "run": lambda: run(settings),
        "backup": lambda: backup.save(_running(settings), arguments.target),
        "restore": lambda: _kept(partial(backup.restore, settings, arguments.source)),
    }
    commands_by_name[arguments.command]()


def up(settings: Settings) -> None:
    """Start the stack as a process of its own, show how it starts, and return when all parts are healthy.

    Raises:
        ConfigError: it runs already.
        StackError: it did not start; nothing of it runs.
    """
    with only_one(settings.folder):
        settings.logs.mkdir(mode=0o700, exist_ok=True)
        _remove_ray_folder(settings)
        State.forget(settings.folder)
    log = settings.logs / LOG
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "infra.local.stack", "run"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _follow(process, settings, log)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    out = terminal.out()
    password = settings.folder / FOLDER / "mlflow_password"
    out.print(f"MLflow's user is {ADMIN}, the password is in {password}", soft_wrap=True)
    out.print(f"for jobs, in your shell: set -a; . {client_file(settings)}; set +a", soft_wrap=True)
    out.print("and then, for example: ray job submit -- python jobs/train.py")


def _follow(process: subprocess.Popen[bytes], settings: Settings, log: Path) -> None:
    """Show what a stack that starts says, until it is healthy."""
    with log.open(encoding="utf-8", errors="replace") as lines:
        while True:
            code = process.poll()
            state = State.read(settings.folder)
            healthy = state is not None and state.healthy
            for line in lines.read().splitlines():
                if line.startswith(ERROR):
                    raise StackError(line.removeprefix(ERROR))
                terminal.say(line)
            if code is not None:
                raise StackError(f"the stack ended with code {code} before it was healthy; log: {log}")
            if healthy:
                return
            time.sleep(POLL_S)


def down(settings: Settings) -> None:
    """End the stack, and return when nothing of it runs; done at once when it does not.

    Raises:
        StackError: something of it still runs after a while.
    """
    state = running_state(settings.folder)
    if state is None:
        terminal.say(f"no stack runs in {settings.folder}")
        return
    terminal.say("ending the stack")
    signal_keeper(settings.folder, state, signal.SIGTERM)
    if not ended(settings.folder, END_S):
        raise StackError(f"process {state.keeper} has not ended within {END_S:g} s; log: {settings.logs / LOG}")
    terminal.say(f"the stack has ended; its data stay in {settings.folder}")


def status(settings: Settings) -> None:
    """Show each part, and whether it answers.

    Raises:
        StackError: the stack does not run, or a part does not answer.
    """
    settings = _running(settings)
    parts = all_parts(settings, Credentials.of(settings.folder), Path())
    table = Table("part", "state", "address")
    silent = []
    for part in parts:
        healthy = part.healthy()
        table.add_row(part.name, "healthy" if healthy else "does not answer", part.address)
        if not healthy:
            silent.append(part.name)
    terminal.out().print(table)
    if silent:
        raise StackError(f"does not answer: {', '.join(silent)}; logs: {settings.logs}")


def run(settings: Settings) -> None:
    """Run the stack until a signal, or until a part ends; nothing of it stays running.

    Raises:
        ConfigError: it runs already, or a port is in use.
    """
    with only_one(settings.folder):
        _remove_ray_folder(settings)
        settings.ports.check_free()
        ray_folder = new_folder()
        state = State(
            keeper=os.getpid(),
            ports=settings.ports,
            cpus=settings.cpus,
            ray_folder=str(ray_folder),
            healthy=False,
        )
        state.write(settings.folder)
        try:
            _kept(partial(_serve, settings, state))
        finally:
            shutil.rmtree(ray_folder, ignore_errors=True)


def _remove_ray_folder(settings: Settings) -> None:
    """Remove that of the last start, in case whoever had to was killed."""
    before = State.read(settings.folder)
    if before is not None:
        shutil.rmtree(before.ray_folder, ignore_errors=True)


def _serve(settings: Settings, state: State) -> None:
    credentials = Credentials.of(settings.folder)
    ray_folder = Path(state.ray_folder)
    parts = all_parts(settings, credentials, ray_folder)
    prepare(settings, credentials, ray_folder)
    with started(parts, terminal.say) as running:
        state.model_copy(update={"healthy": True}).write(settings.folder)
        watch(running)


def _kept(main: Callable[[], None]) -> None:
    """Do it in a child, with the child's exit code; no process that it starts outlives it."""
    code = keep(partial(run_job, main))
    if code:
        sys.exit(code)


def _running(settings: Settings) -> Settings:
    """Settings of the stack that runs in this folder.

    Raises:
        StackError: none does.
    """
    state = running_state(settings.folder)
    if state is None:
        raise StackError(f"no stack runs in {settings.folder}: start it with 'make stack'")
    return Settings(settings.folder, state.ports, state.cpus)


if __name__ == "__main__":
    run_job(main)
