"""The units for virtual machines: systemd understands each line, and each command has its flags."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
SYSTEMD = REPOSITORY / "infra" / "systemd"
UNITS = ["vlm3-ray-head.service", "vlm3-ray-worker.service", "vlm3-serve.service"]
SHARED = "vlm3-.service.d/shared.conf"
EXPOSURE_LIMIT = "40"
"""Of 100, as `systemd-analyze security` counts; a unit without any restriction has 96."""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as in /etc/systemd/system, with commands that are there."""
    folder = tmp_path / "system"
    shutil.copytree(SYSTEMD, folder)
    for name in UNITS:
        unit = folder / name
        unit.write_text(re.sub(r"/opt/vlm3/bin/\w+", "/bin/true", unit.read_text(encoding="utf-8")), encoding="utf-8")
    return folder


def complaints(command: str, folder: Path) -> str:
    """What systemd says about the units; it ends with 0 even where it ignores a line."""
    units = [str(folder / name) for name in UNITS]
    done = subprocess.run([command, "verify", "--man=no", *units], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def command_of(unit: str) -> list[str]:
    found = re.search(r"^ExecStart=/opt/vlm3/bin/(.+)$", (SYSTEMD / unit).read_text(encoding="utf-8"), re.M)
    assert found, unit
    return found[1].split()


def test_the_units_are_all_there() -> None:
    assert sorted(file.name for file in SYSTEMD.glob("*.service")) == UNITS


def test_systemd_understands_every_line(command: Callable[[str], str], installed: Path) -> None:
    assert complaints(command("systemd-analyze"), installed) == ""


@pytest.mark.parametrize("file", [*UNITS, SHARED])
def test_a_planted_typo_is_caught(command: Callable[[str], str], installed: Path, file: str) -> None:
    unit = installed / file
    unit.write_text(
        unit.read_text(encoding="utf-8").replace("[Service]", "[Service]\nRestrat=always"), encoding="utf-8"
    )
    assert "Restrat" in complaints(command("systemd-analyze"), installed)


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_may_do_little(command: Callable[[str], str], installed: Path, name: str) -> None:
    def exposed(folder: Path) -> subprocess.CompletedProcess[str]:
        arguments = ["security", "--offline=true", f"--threshold={EXPOSURE_LIMIT}", "--no-pager", str(folder / name)]
        return subprocess.run([command("systemd-analyze"), *arguments], capture_output=True, text=True, check=False)

    assert exposed(installed).returncode == 0, exposed(installed).stdout
    shutil.rmtree(installed / Path(SHARED).parent)
    assert exposed(installed).returncode != 0


@pytest.mark.parametrize("name", UNITS[:2])
def test_flags_are_those_of_the_installed_ray(name: str) -> None:
    from ray.scripts.scripts import start

    known = {flag for option in start.params for flag in option.opts}
    program, subcommand, *arguments = command_of(name)
    assert (program, subcommand) == ("ray", "start")
    assert {argument.split("=")[0] for argument in arguments} <= known
    # Without --block the command ends at once, and systemd would end what it started.
    assert "--block" in arguments


def test_flags_of_the_endpoint_are_those_of_its_job() -> None:
    job = REPOSITORY / "jobs" / "serve_depth.py"
    program, subcommand, *arguments = command_of("vlm3-serve.service")
    assert (program, subcommand) == ("vlm3", "serve")
    known = re.findall(r'add_argument\("(--[a-z-]+)"', job.read_text(encoding="utf-8"))
    flags = [argument for argument in arguments if argument.startswith("--")]
    assert len(flags) >= 3
    assert set(flags) <= set(known)


def test_every_unit_is_started_anew_with_the_token_and_a_folder_of_its_own() -> None:
    shared = (SYSTEMD / SHARED).read_text(encoding="utf-8").splitlines()
    for line in (
        "Restart=always",
        "StartLimitIntervalSec=0",
        "EnvironmentFile=/etc/vlm3/vlm3.env",
        "OOMPolicy=continue",
    ):
        assert line in shared
    folders = (
        next(line for line in shared if line.startswith("StateDirectory=")).removeprefix("StateDirectory=").split()
    )
    for name in UNITS:
        text = (SYSTEMD / name).read_text(encoding="utf-8")
        assert {f"vlm3/{used}" for used in re.findall(r"/var/lib/vlm3/(\w+)", text)} <= set(folders)


def test_the_example_of_the_environment_has_every_variable_and_no_secret() -> None:
    lines = (SYSTEMD / "vlm3.env.example").read_text(encoding="utf-8").splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    used = {name for unit in UNITS for name in re.findall(r"\$\{(\w+)\}", (SYSTEMD / unit).read_text(encoding="utf-8"))}
    assert used | {"RAY_AUTH_TOKEN", "VLM3_RUNS"} <= given.keys()
    assert all(value == "" for name, value in given.items() if name.endswith(("TOKEN", "PASSWORD", "USERNAME")))
