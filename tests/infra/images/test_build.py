"""The steps of the CPU image run, on a root made of Debian's packages: no registry of images is asked."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.long, pytest.mark.infra]
REPOSITORY = Path(__file__).resolve().parents[3]
BASE = "localhost/debian:12-slim"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
GIVEN = "/run/given"
"""Folder in the build for what this machine has and Debian's root lacks."""
Buildah = Callable[..., str]


@pytest.fixture
def buildah(command: Callable[[str], str], tmp_path: Path) -> Iterator[Buildah]:
    """Run buildah with images of its own, in this process's rights only."""
    if os.geteuid() != 0:
        pytest.skip("a root file system is unpacked as root only")
    if not CERTIFICATES.is_file():
        pytest.skip(f"no {CERTIFICATES}: apt-get install ca-certificates")
    binary, storage = command("buildah"), tmp_path / "storage"

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [binary, "--root", str(storage), "--runroot", str(tmp_path / "run"), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    try:
        yield run
        run("rm", "--all")
    finally:
        subprocess.run(["umount", str(storage / "overlay")], capture_output=True, check=False)
        for folder in (storage, tmp_path / "run"):
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def debian(command: Callable[[str], str], buildah: Buildah, tmp_path: Path) -> str:
    """Name of an image with Debian 12, in the place of the one that the Dockerfile names."""
    root = tmp_path / "root.tar"
    bootstrap = [command("mmdebstrap"), "--variant=minbase", "bookworm", str(root)]
    done = subprocess.run(bootstrap, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    container = buildah("from", "scratch").strip()
    buildah("add", container, str(root), "/")
    root.unlink()
    buildah("commit", "--rm", container, BASE)
    return BASE


def machine(folder: Path) -> list[str]:
    """What this machine gives to a build: its certificates, and its wheels where packages come from a folder."""
    # The image compiles what it installs; to see that the steps run, that minute is not needed.
    given = ["--build-arg", "UV_COMPILE_BYTECODE=0", "--volume", f"{CERTIFICATES}:{GIVEN}/certificates.crt:ro"]
    pip, uv = ["[global]", f"cert = {GIVEN}/certificates.crt"], []
    wheels = os.environ.get("PIP_FIND_LINKS")
    if wheels and Path(wheels).is_dir():
        (folder / "none").mkdir()
        given += ["--volume", f"{wheels}:{GIVEN}/wheels:ro", "--volume", f"{folder}/none:{GIVEN}/none:ro"]
        given += ["--build-arg", f"TORCH_CPU_INDEX=file://{GIVEN}/none"]
        pip.append(f"find-links = {GIVEN}/wheels")
        uv.append(f'find-links = ["{GIVEN}/wheels"]')
    for name, lines in (("pip.conf", pip), ("uv.toml", uv)):
        (folder / name).write_text("\n".join(lines))
    # uv has authorities of its own, unless a file is named.
    given += ["--env", f"SSL_CERT_FILE={GIVEN}/certificates.crt"]
    return [*given, f"--volume={folder}/pip.conf:/etc/pip.conf:ro", f"--volume={folder}/uv.toml:/etc/uv/uv.toml:ro"]


def test_the_cpu_image_is_built_and_runs(buildah: Buildah, debian: str, tmp_path: Path) -> None:
    options = ["--isolation=chroot", "--target=cpu", f"--build-arg=DEBIAN={debian}", "--tag=vlm3:cpu"]
    buildah("build", *options, *machine(tmp_path), f"--file={REPOSITORY}/infra/images/Dockerfile", str(REPOSITORY))
    container = buildah("from", "vlm3:cpu").strip()

    def inside(*words: str) -> str:
        return buildah("run", "--isolation=chroot", container, *words)

    assert inside("id", "--user").strip() == "1000"
    # In a login shell too, where launchers start Ray.
    assert inside("bash", "--login", "-c", "command -v ray").strip() == "/opt/venv/bin/ray"
    assert "usage: " in inside("python", "jobs/train.py", "--help")
    assert inside("python", "-c", "import torch; print(torch.version.cuda)").strip() == "None"
    inside("touch", "/runs/mine")
