"""The state file of a checkpoint: what the checkpoint says about itself, and what commits it.

A checkpoint is one folder. The engine writes its shards first; `train_state.json` comes last and lists every file of
every rank with its size. A folder without it, or with a file missing or cut short, is not a checkpoint.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlm3.errors import CheckpointError, IncompleteCheckpointError
from vlm3.mixture.ledger import Ledger
from vlm3.storage.atomic import replace_file

STATE_FILE = "train_state.json"
SCHEMA = 2


@dataclass(frozen=True, slots=True)
class TrainState:
    """Everything that a run needs to continue, besides the engine's tensors."""

    step: int
    """Optimizer steps done."""
    ledger: Ledger
    """Positions consumed."""
    plan: str
    """The mixture plan as JSON text."""
    recipe_fingerprint: str
    world_size: int
    zero_stage: int
    seen: tuple[int, ...]
    """Number of samples received of each component."""
    replaced: tuple[int, ...]
    """How many of these stand in for a bad sample."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Plain data that the fingerprint covers; used only to say what differs."""


def commit(folder: Path, state: TrainState, files: Mapping[str, int]) -> None:
    """Write the state file of a checkpoint, atomically. Call it on one rank, after every rank has written its shards.

    Args:
        folder: the checkpoint's folder on this rank; ranks without a shared file system may each have their own, to be
            merged later.
        state: what to write.
        files: relative path → size in bytes of every other file of the checkpoint, over all ranks.
    """
    data = {
        "schema": SCHEMA,
        "step": state.step,
        "ledger": state.ledger.to_json(),
        "plan": state.plan,
        "recipe_fingerprint": state.recipe_fingerprint,
        "world_size": state.world_size,
        "zero_stage": state.zero_stage,
        "seen": list(state.seen),
        "replaced": list(state.replaced),
        "recipe": dict(state.recipe),
        "files": dict(sorted(files.items())),
    }
    replace_file(folder / STATE_FILE, json.dumps(data, indent=1).encode())


def read_state(folder: Path) -> TrainState:
    """Read a checkpoint's state and check that all of its files are there.

    Raises:
        CheckpointError: there is no checkpoint, or it is incomplete or of another version.
    """
    try:
        data = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise IncompleteCheckpointError(
            f"{folder}: not a complete checkpoint: {STATE_FILE} is missing (it is written last);"
            " give an older checkpoint, or start a new run"
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder / STATE_FILE}: cannot be read: {error}; give an older checkpoint") from None
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != SCHEMA:
        raise CheckpointError(
            f"{folder / STATE_FILE}: expected schema version {SCHEMA}, found {schema!r};"
            " continue with the version of this package that wrote it"
        )
    for path, size in data["files"].items():
        found = (folder / path).stat().st_size if (folder / path).is_file() else None
        if found != size:
            detail = "missing" if found is None else f"cut short: expected {size} bytes, found {found}"
            raise IncompleteCheckpointError(
                f"{folder}: incomplete checkpoint: {path} is {detail}; give an older checkpoint"
            )
    return TrainState(
        step=data["step"],
        ledger=Ledger.from_json(data["ledger"]),
        plan=data["plan"],
        recipe_fingerprint=data["recipe_fingerprint"],
        world_size=data["world_size"],
        zero_stage=data["zero_stage"],
        seen=tuple(data["seen"]),
        replaced=tuple(data["replaced"]),
        recipe=data["recipe"],
    )


def require_recipe(folder: Path, state: TrainState, fingerprint: str, recipe: Mapping[str, Any]) -> None:
    """Refuse to continue a checkpoint under another recipe.

    Args:
        folder: where the checkpoint lies, for the message.
        state: the checkpoint's state.
        fingerprint: fingerprint of the recipe that would continue it.
        recipe: plain data that this fingerprint covers.

    Raises:
        CheckpointError: the recipes differ; the message names both fingerprints and the first keys that differ.
    """
    if state.recipe_fingerprint == fingerprint:
        return
    differences = list(_differences(state.recipe, recipe))
    shown = "; ".join(differences[:4]) + (f"; and {len(differences) - 4} more" if len(differences) > 4 else "")
    raise CheckpointError(
        f"{folder}: belongs to another recipe (its fingerprint is {state.recipe_fingerprint}, yours {fingerprint}"
        f"{f': {shown}' if shown else ''}); restore those keys to continue it, or start a new run under another name"
    )


def _differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Text for each key whose value differs, depth first."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return [
            text
            for key in sorted({*old, *new})
            for text in _differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
        ]
    # Tuples become lists in JSON.
    return [] if json.dumps(old) == json.dumps(new) else [f"{path}: {json.dumps(old)} then, {json.dumps(new)} now"]
