"""Turn posed images into shards: `python jobs/ingest.py FOLDER [--to URI] [--source NAME] [--role eval]`."""

import argparse
from pathlib import Path

from rich.table import Table

from pipelines.cluster import connect
from pipelines.ingest import REPORT, IngestConfig, IngestReport, ingest
from pipelines.runs import runs_folder
from vlm3 import terminal
from vlm3.config import apply_overrides
from vlm3.errors import ConfigError
from vlm3.job import going_on, run_job
from vlm3.sources.reader import find_sources, open_reader, source_name
from vlm3.storage.store import open_store


def main() -> None:
    """Parse the command line, ingest every source found, print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a source (frames.json or JSON lines), or a folder of sources")
    parser.add_argument("--to", metavar="URI", help="local folder or s3://bucket/prefix (default: RUNS/data/NAME)")
    parser.add_argument("--source", metavar="NAME", help="name of the source (default: the folder's name)")
    parser.add_argument("--role", choices=("train", "eval"), help="eval: the whole source is held out, never trained")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="option, e.g. clip_frames=32")
    parser.add_argument("--replace", action="store_true", help="ingest again even if the source is there")
    parser.add_argument("--runs", type=Path, help="folder of runs (default: $VLM3_RUNS or ./runs)")
    terminal.add_verbose(parser)
    arguments = parser.parse_args()
    terminal.start(verbose=arguments.verbose)
    role = {} if arguments.role is None else {"role": arguments.role}
    config = IngestConfig.parse(apply_overrides(role, arguments.set), "--set")
    folder = arguments.folder
    found = find_sources(folder) if folder.is_dir() else ((source_name(folder.resolve().parent), folder),)
    if arguments.source is not None:
        if len(found) > 1:
            raise ConfigError(
                f"--source {arguments.source}: {folder} holds {len(found)} sources"
                f" ({', '.join(name for name, _ in found)}); give the folder of one"
            )
        found = ((arguments.source, found[0][1]),)
    readers = [open_reader(path, name) for name, path in found]
    places = [place(arguments.to, reader.source, len(readers), arguments.runs) for reader in readers]
    for uri in places:
        open_store(uri).check()  # before Ray starts, so that a wrong bucket is reported at once
    terminal.keep_log(runs_folder(arguments.runs) / "ingest" / source_name(folder.resolve()) / "log")
    with going_on(lambda: "the same command starts again; what is whole stays as it is"):
        connect()
        for reader, uri in zip(readers, places, strict=True):
            report(ingest(reader, uri, config, replace=arguments.replace), config.role)


def place(to: str | None, name: str, sources: int, runs: Path | None) -> str:
    """Folder or s3:// prefix of a source: `to` itself if it is the only source, else NAME below `to`."""
    if to is None:
        return str(runs_folder(runs) / "data" / name)
    return to if sources == 1 else f"{to.rstrip('/')}/{name}"


def report(done: IngestReport, role: str) -> None:
    """Print what the source now holds, and how a recipe uses it."""
    table = Table(title=f"source {done.source}" + (" (was there already)" if done.reused else ""), show_header=False)
    for split, clips in done.clips.items():
        table.add_row(f"{split} clips (frames)", f"{clips} ({done.frames[split]})")
    table.add_row("shards", f"{done.shards}, {done.size_bytes / 2**20:.1f} MiB")
    if not done.reused:
        table.add_row("frames read, rejected", f"{done.frames_read}, {len(done.rejections)}")
        table.add_row("seconds", f"{done.seconds:.1f}")
    console = terminal.out()
    console.print(table)
    for rejection in done.rejections[:5]:
        console.print(f"rejected {rejection.scene}/{rejection.frame}: {rejection.reason}", markup=False, soft_wrap=True)
    if done.rejections:
        console.print(f"all rejections: {done.uri.rstrip('/')}/{REPORT}", soft_wrap=True)
    weight = "weight: 1.0, " if role == "train" else ""
    console.print(f"in a recipe:\nsources:\n  {done.source}: {{{weight}uri: {done.uri}}}", soft_wrap=True)


if __name__ == "__main__":
    run_job(main)
