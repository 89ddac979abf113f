"""The run file in a run's folder: which recipe may continue the run, and what its scores were measured on."""

import json
from pathlib import Path

from pipelines.runs import RunRequest
from vlm3.errors import CheckpointError, ConfigError
from vlm3.log import get_logger
from vlm3.storage.store import open_store
from vlm3.train.progress import SUMMARY_FILE
from vlm3.train.recipe import Recipe
from vlm3.train.resume import discard_incomplete

log = get_logger(__name__)
RUN_FILE = "run.json"
PADDED = "padded"
"""How images are fitted to whole tokens. Earlier versions cropped them, and their run files do not record it."""


def claim(run_dir: Path, recipe: Recipe, request: RunRequest) -> str | None:
    """Check that the run may start: a new name must be unused, a resumed run must be of the same recipe.

    Incomplete checkpoints of a resumed run are removed.

    Returns:
        Id of the MLflow run to continue; None for a new one.

    Raises:
        ConfigError: a new run has the name of an existing one.
        CheckpointError: there is no such run to continue, or another recipe started it.
    """
    run_file = run_dir / RUN_FILE
    if not request.resume:
        if run_file.exists():
            raise ConfigError(
                f"run {request.name!r} exists in {run_dir}: continue it with --resume {request.name},"
                " or choose another --name"
            )
        return None
    if not run_file.exists():
        raise CheckpointError(
            f"--resume {request.name}: no such run in {run_dir.parent}; start it with --name {request.name}"
        )
    saved = json.loads(run_file.read_text(encoding="utf-8"))
    if saved["recipe_fingerprint"] != recipe.fingerprint():
        raise CheckpointError(
            f"--resume {request.name}: it was started by another recipe (fingerprint {saved['recipe_fingerprint']},"
            f" this one {recipe.fingerprint()}); resume it with the recipe and --set it was started with"
            " (artifact recipe.yaml of its MLflow run)"
        )
    discard_incomplete(run_dir)
    run_id: str = saved["run_id"]
    return run_id


def write_run_file(run_dir: Path, run_id: str, recipe: Recipe) -> None:
    """Record in the folder which MLflow run and which recipe it belongs to; atomic."""
    state = {"run_id": run_id, "recipe_fingerprint": recipe.fingerprint(), "evaluation": _asked(recipe)}
    state["images"] = PADDED
    open_store(str(run_dir)).write_atomic(RUN_FILE, json.dumps(state).encode())


def tell_of_cut_images(run_dir: Path) -> None:
    """Warn if an earlier version started the run: it continues with other pixels."""
    if json.loads((run_dir / RUN_FILE).read_text(encoding="utf-8")).get("images") != PADDED:
        log.warning(
            "%s: this run began with images cut down to whole tokens; from here on they are filled up to them, as in"
            " evaluation. Start a new run if all of its steps are to see the same",
            run_dir.name,
        )


def require_same_scores(run_dir: Path, recipe: Recipe, request: RunRequest) -> None:
    """Refuse to register a run's scores under a recipe that evaluates other numbers of images or points.

    Raises:
        CheckpointError: the recipe differs from what the run evaluated, or that is not recorded.
    """
    asked = json.loads((run_dir / RUN_FILE).read_text(encoding="utf-8")).get("evaluation")
    if asked is None:
        raise CheckpointError(
            f"--resume {request.name}: an earlier version evaluated it, and did not record of how many images and"
            f" points its scores are: delete {run_dir / SUMMARY_FILE} and resume again, which evaluates it anew"
        )
    if asked != _asked(recipe):
        raise CheckpointError(
            f"--resume {request.name}: its scores are of {asked['images']} images and {asked['points']} points each;"
            f" to register it, set evaluation.images={asked['images']} and evaluation.points={asked['points']}"
        )


def _asked(recipe: Recipe) -> dict[str, int]:
    """Settings on which scores depend and which may differ between a run and its continuation."""
    return {"images": recipe.evaluation.images, "points": recipe.evaluation.points}
