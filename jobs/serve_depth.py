"""Serve a model over HTTP: `python jobs/serve_depth.py [--model URI] [--host 127.0.0.1] [--port 8000] [--runs DIR]`."""

import argparse
import signal
import threading
from pathlib import Path

from pipelines.cluster import connect, starts_its_own
from pipelines.runs import runs_folder
from serve.app import CHAMPION, ServeConfig
from serve.limits import DEPTH_PATH
from serve.ports import require_free_port
from serve.running import running
from serve.schemas import Intrinsics
from vlm3 import terminal
from vlm3.job import run_job
from vlm3.scenes.schema import Frame
from vlm3.sources.rooms.reader import RoomsConfig, RoomsReader
from vlm3.tracking.config import TrackingConfig

EXAMPLE = """\
serving {model} on {url} until Ctrl-C; ask about a rendered room, or an image of your own:
  curl -s -F image=@{image} -F 'points=[[80, 60]]' -F 'intrinsics={intrinsics}' {url}{path}
  curl -s -F image=@photo.jpg -F 'points=[[80, 60]]' -F horizontal_fov_deg=65 {url}{path}"""


def main() -> None:
    """Parse the command line, serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=CHAMPION, help="models:/NAME@ALIAS, models:/NAME/VERSION or a directory")
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (default: this machine only)")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--runs", type=Path, help="folder of runs (default: $VLM3_RUNS or ./runs)")
    parser.add_argument("--tracking-uri", help="MLflow store (default: $MLFLOW_TRACKING_URI or the runs folder's own)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    terminal.add_verbose(parser)
    arguments = parser.parse_args()
    terminal.start(verbose=arguments.verbose)
    runs_dir = runs_folder(arguments.runs)
    config = ServeConfig(
        runs_dir=str(runs_dir),
        model=arguments.model,
        tracking=TrackingConfig(uri=arguments.tracking_uri),
        device=arguments.device,
    )
    # Checked before Ray starts, so that a wrong model or a port in use is reported at once.
    if starts_its_own():
        require_free_port(arguments.host, arguments.port)
    config.resolve()
    terminal.keep_log(runs_dir / "served" / "log")
    connect()
    with running(config, arguments.host, arguments.port) as url:
        terminal.out().print(example(arguments.model, url, runs_dir), markup=False, soft_wrap=True)
        stopped = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
        stopped.wait()


def example(model: str, url: str, runs_dir: Path) -> str:
    """Text with commands that get an answer; writes the image that they use to the runs folder."""
    rooms = RoomsReader(RoomsConfig(scenes=1, frames_per_scene=1))
    frame = next(frame for frame in rooms.frames(rooms.scenes()[0]) if isinstance(frame, Frame))
    folder = runs_dir / "served"
    folder.mkdir(exist_ok=True)
    image = folder / "example.image"
    image.write_bytes(frame.encoded_image)
    intrinsics = Intrinsics.of(frame.camera).model_dump_json()
    return EXAMPLE.format(model=model, url=url, image=image, intrinsics=intrinsics, path=DEPTH_PATH)


if __name__ == "__main__":
    run_job(main)
