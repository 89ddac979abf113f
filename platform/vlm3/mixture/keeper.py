"""The only writer of a running job's plan: it records what was issued, and saves a change before it takes effect."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from vlm3.config import dump_yaml
from vlm3.errors import CheckpointError, ConfigError, UserError
from vlm3.log import get_logger
from vlm3.mixture.components import weights_by_name
from vlm3.mixture.plan import MixturePlan
from vlm3.mixture.requests import OUTCOME_FILE, REQUEST_FILE, WeightsOutcome, now, read_request
from vlm3.mixture.segments import Change, Segment
from vlm3.storage.failures import StorageError
from vlm3.storage.store import open_store

log = get_logger(__name__)
PLAN_FILE = "plan.json"
ISSUED_FILE = "issued.json"


class PlanKeeper:
    """Owns the plan of one run. Not thread-safe: one keeper per run, one call at a time.

    What was issued never changes, even after a crash: `plan.json` is replaced (and flushed to disk) before a change
    takes effect, `issued.json` before a position beyond it is issued. A keeper started again in the same folder
    therefore continues the same stream, and places later changes above everything that an earlier keeper issued.
    """

    def __init__(
        self,
        run_dir: Path,
        plan: MixturePlan,
        steps: int,
        global_batch: int,
        consumed: int = 0,
        admit: Callable[[Mapping[str, float]], None] | None = None,
    ) -> None:
        """Open the plan of a run.

        Args:
            run_dir: the run's folder, created if it is missing.
            plan: plan of the checkpoint to continue from, or a new one; the folder's own plan is used where it goes
                further.
            steps: steps of the whole run.
            global_batch: positions per step.
            consumed: first position above all that the checkpoint consumed.
            admit: raises a UserError for live weights that the run was not set up for; default: accepts all.

        Raises:
            CheckpointError: the folder's plan is damaged or contradicts `plan`, or `issued.json` is damaged.
            ConfigError: the mixture runs dry before the last step.
        """
        self._admit = admit
        self._run_dir = run_dir
        self._store = open_store(str(run_dir))
        self._steps = steps
        self._global_batch = global_batch
        found = read_plan(run_dir)
        self._plan = newer_plan(plan, found)
        self._plan.require_steps(steps, global_batch)
        if self._plan != found:
            self._write_plan(self._plan)
        self._issued = max(consumed, read_issued(run_dir))

    @property
    def issued(self) -> int:
        """First position above all that were issued."""
        return self._issued

    def plan(self) -> MixturePlan:
        """The current plan, after answering a waiting request."""
        self._look_for_request()
        return self._plan

    def issue(self, start: int, stop: int) -> MixturePlan:
        """The plan by which to read positions [start, stop); from now on it never changes below `stop`.

        Ranges may come in any order and more than once.
        """
        if not 0 <= start < stop:
            raise ValueError(f"expected 0 ≤ start < stop, found [{start}, {stop})")
        self._look_for_request()
        if stop > self._issued:
            # On disk before the range is read; cheap, as it is one small file per range of thousands of positions.
            self._store.write_atomic(ISSUED_FILE, json.dumps({"issued_below": stop}).encode())
            self._issued = stop
        return self._plan

    def change(self, weights: Mapping[str, float], at: str | None = None, request: str | None = None) -> Segment:
        """Change the weights from the first position that was not issued yet.

        Args:
            weights: weights by name of the component; components that are not named keep their weight.
            at: UTC time of the request; default: now.
            request: id of the request.

        Returns:
            The segment that begins there.

        Raises:
            ConfigError: the weights cannot be drawn, let the mixture run dry, or come too late.
            UserError: `admit` refuses the weights.
            StorageError: the plan cannot be written; nothing has changed then.
        """
        ordered = weights_by_name(self._plan.components, weights)
        if self._issued >= self._steps * self._global_batch:
            raise ConfigError(
                f"weights cannot change any more: all {self._steps} steps of the run were issued; start another run"
            )
        if self._admit is not None:
            try:
                self._admit(weights)
            except StorageError as error:
                # Answered at once: readers wait while weights are admitted, and whoever asked can ask again.
                raise UserError(str(error)) from None
        plan = self._plan.change(self._issued, ordered, self._issued, at or now(), request)
        plan.require_steps(self._steps, self._global_batch)
        self._write_plan(plan)
        self._plan = plan
        log.info("weights change from position %d on: %s", self._issued, dict(weights))
        return plan.segment(self._issued)

    def _write_plan(self, plan: MixturePlan) -> None:
        self._store.write_atomic(PLAN_FILE, plan.to_json().encode())

    def _look_for_request(self) -> None:
        """Grant or refuse the waiting request, if there is one. A bad request never stops the run."""
        path = self._run_dir / REQUEST_FILE
        if not path.exists():
            return
        try:
            outcome = self._answer(path)
            if outcome is None:
                return
            self._store.write_atomic(OUTCOME_FILE, dump_yaml(outcome.model_dump(mode="json")).encode())
            path.unlink(missing_ok=True)
        except (UserError, OSError) as error:
            # The file stays, so the next call tries again; a request that was already granted is recognised by its id.
            log.error("%s cannot be answered: %s", path, error)

    def _answer(self, path: Path) -> WeightsOutcome | None:
        request_id = "unreadable"
        try:
            request = read_request(path)
            if request is None:
                return None
            assert request.id is not None
            request_id = request.id
            position = self._granted(request_id)
            if position is None:
                position = self.change(request.weights, request.asked_at, request_id).from_position
        except StorageError:
            raise  # the plan could not be written: the request is not at fault, and waits
        except UserError as error:
            log.warning("request for other weights refused: %s", error)
            return WeightsOutcome(id=request_id, refused=" ".join(str(error).split()))
        return WeightsOutcome(id=request_id, from_position=position, step=position // self._global_batch + 1)

    def _granted(self, request_id: str) -> int | None:
        """Position from which a request already holds: the run may have stopped after granting, before answering it."""
        return next((c.from_position for c in self._plan.changes if c.request == request_id), None)


def read_plan(run_dir: Path) -> MixturePlan | None:
    """The plan in a run's folder, None if there is none.

    Raises:
        CheckpointError: the plan is damaged or of another version.
    """
    try:
        text = (run_dir / PLAN_FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        return MixturePlan.from_json(text)
    except CheckpointError as error:
        raise CheckpointError(f"{run_dir / PLAN_FILE}: {error}") from None


def newer_plan(checkpoint: MixturePlan, file: MixturePlan | None) -> MixturePlan:
    """The plan with which to continue a run: the one of the two that has more live changes.

    Args:
        checkpoint: plan of the checkpoint, or a new plan from the recipe.
        file: plan in the run's folder, which may hold live changes made since the checkpoint.

    Raises:
        CheckpointError: neither plan continues the other.
    """
    if file is None:
        return checkpoint
    for what, ours, theirs in (
        ("components", checkpoint.components, file.components),
        ("seed", checkpoint.seed, file.seed),
        ("period", checkpoint.period, file.period),
        ("caps", checkpoint.limits, file.limits),
        ("start or schedule", _planned(checkpoint), _planned(file)),
    ):
        if ours != theirs:
            raise CheckpointError(
                f"{PLAN_FILE} in the run's folder has other {what} than the checkpoint: it belongs to another run; move"
                " it away to continue without the live changes in it"
            )
    own_log, other_log = _live(checkpoint), _live(file)
    for own, other in zip(own_log, other_log, strict=False):
        if own != other:
            raise CheckpointError(
                f"{PLAN_FILE} in the run's folder contradicts the checkpoint: weights changed at position"
                f" {other.from_position} ({other.at}) there, at {own.from_position} ({own.at}) in the checkpoint; move"
                " it away to continue as the checkpoint says"
            )
    return checkpoint if len(own_log) > len(other_log) else file


def _planned(plan: MixturePlan) -> tuple[Change, ...]:
    return tuple(change for change in plan.changes if change.reason != "live")


def _live(plan: MixturePlan) -> tuple[Change, ...]:
    return tuple(change for change in plan.changes if change.reason == "live")


def read_issued(run_dir: Path) -> int:
    """First position above all that earlier keepers of this folder may have issued.

    Raises:
        CheckpointError: the file that records it is damaged.
    """
    path = run_dir / ISSUED_FILE
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["issued_below"])
    except FileNotFoundError:
        return 0
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{path}: cannot be read: {error}; delete it to continue: weights that change then may"
            " overtake samples that were read already"
        ) from None
