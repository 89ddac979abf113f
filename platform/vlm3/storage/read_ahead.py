"""Reads started before their results are asked for, so that a store's latency is hidden behind work."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

ResultT = TypeVar("ResultT")


def read_ahead(reads: Iterable[Callable[[], ResultT]], depth: int) -> Generator[ResultT, None, None]:
    """Results of `reads` in their order, with up to `depth` reads running or done while the caller works on another.

    At most `depth` results are held besides the one yielded last. An error of a read is raised in its place, after all
    results before it. Closing the iterator (`contextlib.closing`) or reaching its end drops the reads that have not
    started, waits for those that run, and ends the threads. Nothing runs before the first result is asked for.

    Args:
        reads: each is called once, in one of the threads; the iterable itself advances in the caller's thread.
        depth: number of reads ahead of the results, at least 1; also the number of threads.
    """
    if depth < 1:
        raise ValueError(f"read-ahead of {depth}, expected at least 1")
    return _results(iter(reads), depth)


def _results(reads: Iterator[Callable[[], ResultT]], depth: int) -> Generator[ResultT, None, None]:
    pool = ThreadPoolExecutor(depth, thread_name_prefix="read-ahead")
    try:
        ahead: deque[Future[ResultT]] = deque(pool.submit(read) for read in islice(reads, depth))
        while ahead:
            result = ahead.popleft().result()
            ahead.extend(pool.submit(read) for read in islice(reads, 1))
            yield result
            del result  # while the next one is waited for, only the caller may hold it
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
