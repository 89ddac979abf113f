"""Finds the user's error inside Ray's errors, which wrap it several layers deep on its way between processes."""

from collections.abc import Iterator

from vlm3.errors import UserError


def user_error(error: BaseException) -> UserError | None:
    """The first UserError that `error` wraps (as a Ray task, worker group or controller does); None if it is a bug."""
    seen: set[int] = set()
    queue = [error]
    while queue:
        current = queue.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, UserError):
            # Ray's dual exceptions print the whole remote traceback; the cause carries the plain text.
            cause = getattr(current, "cause", None)
            return cause if isinstance(cause, UserError) else current
        queue.extend(_inner(current))
    return None


def _inner(error: BaseException) -> Iterator[BaseException]:
    candidates = [
        error.__cause__,
        error.__context__,
        getattr(error, "cause", None),
        getattr(error, "controller_failure", None),
    ]
    failures = getattr(error, "worker_failures", {})
    candidates.extend(failures.values() if isinstance(failures, dict) else ())
    yield from (candidate for candidate in candidates if isinstance(candidate, BaseException))
