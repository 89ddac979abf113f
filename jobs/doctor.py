"""Check the data of a source: `python jobs/doctor.py URI_OR_FOLDER [--split eval] [--samples N] [--sheet FILE.png]`."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.progress import track
from rich.table import Table
from rich.text import Text

from vlm3 import terminal
from vlm3.doctor.contact_sheet import contact_sheet
from vlm3.doctor.finding import Finding, Verdict, failed
from vlm3.doctor.frames import diagnose_frames
from vlm3.doctor.posed_views import diagnose_views
from vlm3.doctor.samples import Group, chosen_clips, clip_group, reader_groups, spread
from vlm3.doctor.shards import all_shards, diagnose_manifest, diagnose_shards, shards_of
from vlm3.doctor.unification import diagnose_unification
from vlm3.errors import ConfigError, DataError
from vlm3.job import run_job
from vlm3.scenes.schema import Frame
from vlm3.scenes.sharded import ShardedSource
from vlm3.sources.reader import open_reader
from vlm3.storage.failures import StorageError
from vlm3.storage.manifest import MANIFEST, read_manifest
from vlm3.storage.split import Split
from vlm3.storage.store import open_store

STYLES = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red", Verdict.CANNOT_TELL: "dim"}
SHEET_FRAMES = 8
TOLERATED = 0.1
"""Share of bad frames tolerated in foreign data, since an ingest leaves them out; an ingested source must have none."""


@dataclass(frozen=True, slots=True)
class Patient:
    """A source under examination: its name, the samples read, and the findings so far."""

    name: str
    groups: list[Group]
    findings: list[Finding]


def main() -> None:
    """Parse the command line, examine, print the table, write sheet and JSON; exit with 1 if a check failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="an ingested source (folder or s3://bucket/prefix), or a folder to be ingested")
    parser.add_argument(
        "--split", choices=[split.value for split in Split], help="split of an ingested source (default: train)"
    )
    parser.add_argument("--samples", type=int, default=96, metavar="N", help="frames to look at (default: 96)")
    parser.add_argument(
        "--focal", type=float, default=1000.0, metavar="PX", help="focal_px of the recipe (default: 1000)"
    )
    parser.add_argument("--full", action="store_true", help="check every shard and its checksum")
    parser.add_argument("--sheet", type=Path, metavar="FILE.png", help="write a picture of samples")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the findings as JSON")
    arguments = parser.parse_args()
    terminal.start()
    if arguments.samples < 2 or not 0 < arguments.focal < 1e5:
        raise ConfigError("expected --samples of at least 2 and --focal between 0 and 100000 px")
    if arguments.sheet and arguments.sheet.suffix != ".png":
        raise ConfigError(f"--sheet {arguments.sheet}: expected a name that ends in .png")
    split = arguments.split and Split(arguments.split)
    patient = examine(arguments.source, split, arguments.samples, full=arguments.full)
    findings = [*patient.findings, *_geometry(patient, arguments.focal)]
    terminal.out().print(table(patient.name, findings))
    if arguments.json:
        _write(arguments.json, json.dumps({"source": arguments.source, "findings": [*map(asdict, findings)]}, indent=2))
    if arguments.sheet:
        figure = contact_sheet(f"{patient.name} ({arguments.source})", list(_samples(patient.groups)), findings)
        arguments.sheet.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(arguments.sheet, dpi=100)
    sys.exit(1 if failed(findings) else 0)


def examine(source: str, split: Split | None, samples: int, *, full: bool) -> Patient:
    """Read samples of a source, with the findings of all checks except those of its geometry.

    Raises:
        ConfigError: `split` or `full` is given for a source that is not ingested.
        DataError: there is nothing to examine.
        StorageError: the store does not answer.
    """
    store = open_store(source)
    is_file = not store.remote and Path(store.uri).is_file()
    if not is_file and (store.remote or store.exists(MANIFEST)):
        return _examine_shards(source, split, samples, full=full)
    if split is not None or full:
        raise ConfigError(f"{source}: --split and --full are for ingested sources, this has no {MANIFEST}")
    reader = open_reader(Path(store.uri))
    groups = list(_shown(reader_groups(reader, samples), None))
    items = [item for group in groups for item in group]
    return Patient(reader.source, groups, diagnose_frames(items, TOLERATED))


def _examine_shards(uri: str, split: Split | None, samples: int, *, full: bool) -> Patient:
    store = open_store(uri)
    if not store.exists(MANIFEST):
        read_manifest(store)  # raises, saying what is missing
    try:
        manifest, source = read_manifest(store), ShardedSource.open(uri)
    except StorageError:
        raise
    except DataError as error:
        return Patient(uri, [], [Finding("manifest", Verdict.FAIL, str(error), "ingest the source again")])
    split = split or next((split for split in Split if source.clips(split)), None)
    if split is None:
        raise DataError(f"{uri}: the source holds no clip: ingest it again")
    if not source.clips(split):
        raise DataError(f"{uri}: split {split} has no clip; leave out --split to look at the other one")
    clips = chosen_clips(source, split, samples)
    chosen = all_shards(manifest) if full else shards_of(manifest, split, clips)
    report = diagnose_shards(store, manifest, chosen, full=full)
    whole = [clip for clip in clips if manifest.locate(split, clip)[0].path not in report.broken]
    groups = list(_shown((clip_group(source, split, clip) for clip in whole), len(whole)))
    items = [item for group in groups for item in group]
    findings = [diagnose_manifest(manifest), *report.findings, *diagnose_frames(items, 0.0)]
    return Patient(f"{source.name}, {split}", groups, findings)


def _geometry(patient: Patient, focal_px: float) -> list[Finding]:
    groups = [[item for item in group if isinstance(item, Frame)] for group in patient.groups]
    if not any(groups):
        return []
    frames = [frame for group in groups for frame in group]
    with terminal.err().status("comparing views"):
        return [diagnose_unification(frames, focal_px), *diagnose_views(groups)]


def _shown(groups: Iterable[Group], total: int | None) -> Iterator[Group]:
    console = terminal.err()
    yield from track(groups, "reading", total=total, console=console, transient=True, disable=not console.is_terminal)


def _samples(groups: list[Group]) -> Iterator[tuple[Frame, Frame | None]]:
    """Yield frames spread over all groups, each with the frame of its scene whose camera is nearest, if any."""
    frames = [(item, group) for group in groups for item in group if isinstance(item, Frame)]
    for frame, group in (frames[i] for i in spread(len(frames), SHEET_FRAMES)):
        yield frame, _neighbour(frame, [item for item in group if isinstance(item, Frame)])


def _neighbour(frame: Frame, others: list[Frame]) -> Frame | None:
    if frame.world_T_cam is None:
        return None
    away = [
        (float(np.linalg.norm((other.world_T_cam - frame.world_T_cam)[:3])), other)
        for other in others
        if other.world_T_cam is not None and other.scene == frame.scene and other.frame != frame.frame
    ]
    return min(away, key=lambda pair: pair[0])[1] if away else None


def table(name: str, findings: Iterable[Finding]) -> Table:
    """Table of the findings, one row per check."""
    rows = Table("check", "verdict", "figure", "what to do", title=f"source {name}", title_justify="left")
    for finding in findings:
        verdict = Text(finding.verdict.value, STYLES[finding.verdict])
        rows.add_row(finding.check, verdict, Text(finding.figure), Text(finding.advice))
    return rows


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


if __name__ == "__main__":
    run_job(main)
