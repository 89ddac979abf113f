"""An HTTP proxy on loopback between an S3 client and a real server: counts requests, and goes wrong as stores do.

Requests pass unchanged, the Host header included, so that signatures stay valid.
"""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import pytest

from tests.storage_fixtures import S3Server, make_bucket
from vlm3.storage.store import Store, open_store

SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>SlowDown</Code><Message>Please reduce your request rate.'
    b"</Message><Resource>/</Resource><RequestId>4442587FB7D0A2F9</RequestId></Error>"
)


class Fault(StrEnum):
    """What may happen to a request."""

    SLOW_DOWN = "slow_down"
    """Answered 503 with S3's XML; never reaches the server."""
    RESET = "reset"
    """The connection is reset instead of an answer."""
    TRUNCATED = "truncated"
    """The body ends early and the connection closes, against its Content-Length."""
    SHORT = "short"
    """The body ends early and its Content-Length says so."""
    SLOW = "slow"
    """The first byte of the answer comes `slow_s` later."""


@dataclass(frozen=True)
class Faults:
    """How often what goes wrong, drawn for each request in turn from a seeded generator."""

    rates: dict[Fault, float] = field(default_factory=dict)
    """Share of the requests that meet each fault; their sum is at most 1."""
    seed: int = 0
    slow_s: float = 0.2
    latency_s: float = 0.0
    """Before the first byte of every answer."""
    retry_after_s: int | None = None
    status: int = 503
    """Of the answer of SLOW_DOWN."""
    stop_after: int | None = None
    """No more faults after this many."""


@dataclass
class _Message:
    head: list[bytes]
    """Lines without line ends."""
    body: bytes

    @property
    def first(self) -> list[str]:
        return self.head[0].decode().split(" ")

    def header(self, name: str) -> str | None:
        for line in self.head[1:]:
            key, _, value = line.decode("latin-1").partition(":")
            if key.lower() == name:
                return value.strip()
        return None

    def without(self, name: str) -> "_Message":
        return _Message([line for line in self.head if not line.lower().startswith(f"{name}:".encode())], self.body)

    def resized(self, body: bytes) -> "_Message":
        return _Message([*self.without("content-length").head, f"Content-Length: {len(body)}".encode()], body)

    def raw(self) -> bytes:
        return b"\r\n".join([*self.head, b"", b""]) + self.body


class FaultProxy:
    """The running proxy; its counts may be read, and `faults` set, at any time."""

    def __init__(self, server: S3Server, faults: Faults) -> None:
        self._target = int(server.endpoint.rsplit(":", 1)[1])
        self.port = 0
        self.in_flight = self.most_in_flight = 0
        self.reset(faults)

    def reset(self, faults: Faults) -> None:
        """Set all counts to zero and go on with other faults."""
        self.faults, self._rng = faults, random.Random(faults.seed)
        self.methods: Counter[str] = Counter()
        """Requests by method."""
        self.lists = 0
        """Requests that list a bucket."""
        self.met: Counter[Fault] = Counter()
        """Faults by kind."""
        self.ranges: list[tuple[str, int, int]] = []
        """(path, start, stop) of each GET of a range."""
        self.most_in_flight = self.in_flight

    @property
    def requests(self) -> int:
        """All of them."""
        return self.methods.total()

    @property
    def fetched_bytes(self) -> int:
        """Bytes of ranges that were asked for."""
        return sum(stop - start for _, start, stop in self.ranges)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's connection."""
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                request = await _read(reader, writer)
                self.in_flight += 1
                self.most_in_flight = max(self.most_in_flight, self.in_flight)
                try:
                    open_still = await self._answer(request, writer)
                finally:
                    self.in_flight -= 1
                if not open_still:
                    break
        writer.close()

    async def _answer(self, request: _Message, writer: asyncio.StreamWriter) -> bool:
        fault = self._note(request)
        await asyncio.sleep(self.faults.latency_s + (self.faults.slow_s if fault is Fault.SLOW else 0))
        if fault is Fault.RESET:
            writer.transport.abort()
            return False
        if fault is Fault.SLOW_DOWN:
            after = f"Retry-After: {self.faults.retry_after_s}\r\n" if self.faults.retry_after_s is not None else ""
            body = b"" if request.first[0] == "HEAD" else SLOW_DOWN
            head = f"HTTP/1.1 {self.faults.status} Slow Down\r\nContent-Type: application/xml\r\n{after}"
            writer.write(f"{head}Content-Length: {len(SLOW_DOWN)}\r\n\r\n".encode() + body)
            await writer.drain()
            return True
        answer = await self._forward(request)
        half = answer.body[: len(answer.body) // 2]
        if fault is Fault.SHORT and answer.header("content-range"):
            writer.write(answer.resized(half).raw())
        elif fault is Fault.TRUNCATED and answer.body:
            writer.write(_Message(answer.head, half).raw())
            await writer.drain()
            return False
        else:
            writer.write(answer.raw())
        await writer.drain()
        return True

    def _note(self, request: _Message) -> Fault | None:
        method, path, _ = request.first
        self.methods[method] += 1
        bucket_only = "/" not in path.partition("?")[0].strip("/")
        self.lists += method == "GET" and bucket_only
        if (span := request.header("range")) is not None:
            start, stop = span.removeprefix("bytes=").split("-")
            self.ranges.append((path, int(start), int(stop) + 1))
        draw, sum_ = self._rng.random(), 0.0
        if self.faults.stop_after is not None and self.met.total() >= self.faults.stop_after:
            return None
        for fault, rate in self.faults.rates.items():
            sum_ += rate
            if draw < sum_:
                self.met[fault] += 1
                return fault
        return None

    async def _forward(self, request: _Message) -> _Message:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._target, limit=1 << 24)
        try:
            writer.write(request.without("expect").raw())
            await writer.drain()
            return await _read(reader, None, bodiless=request.first[0] == "HEAD")
        finally:
            writer.close()


@contextmanager
def fault_proxy(server: S3Server, faults: Faults | None = None) -> Iterator[tuple[FaultProxy, S3Server]]:
    """A proxy in front of `server`, and the server as a client reaches it through the proxy."""
    proxy = FaultProxy(server, faults or Faults())
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        start = asyncio.start_server(proxy.serve, "127.0.0.1", 0, limit=1 << 24)
        listening = asyncio.run_coroutine_threadsafe(start, loop).result(10)
        proxy.port = listening.sockets[0].getsockname()[1]
        yield proxy, S3Server(f"http://127.0.0.1:{proxy.port}", server.folder)
        listening.close()
    finally:
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@dataclass(frozen=True)
class Proxied:
    """An empty store that is reached through a proxy, which counts and does nothing else until it is told to."""

    proxy: FaultProxy
    store: Store
    folder: Path
    """Where the server keeps the store's files."""


@pytest.fixture
def proxied(
    rclone_server: S3Server, use_s3: Callable[[S3Server], None], request: pytest.FixtureRequest
) -> Iterator[Proxied]:
    """A bucket of its own on a real server behind a `FaultProxy`; the environment points at the proxy."""
    with fault_proxy(rclone_server) as (proxy, server):
        use_s3(server)
        bucket = f"p{abs(hash(request.node.nodeid)) % 10**9}"
        make_bucket(rclone_server, bucket)
        assert server.folder is not None
        yield Proxied(proxy, open_store(f"s3://{bucket}/source"), server.folder / bucket / "source")


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _read(
    reader: asyncio.StreamReader, client: asyncio.StreamWriter | None, *, bodiless: bool = False
) -> _Message:
    """One whole message; a client that expects 100 is told to go on."""
    head = (await reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
    message = _Message(head, b"")
    if client is not None and message.header("expect"):
        client.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if bodiless or (client is None and message.first[1] in ("204", "304")):
        return message
    if message.header("transfer-encoding") == "chunked":
        while size := int((line := await reader.readline()).split(b";")[0], 16):
            message.body += line + await reader.readexactly(size + 2)
        message.body += line + await reader.readuntil(b"\r\n")
    elif (length := message.header("content-length")) is not None:
        message.body = await reader.readexactly(int(length))
    elif client is None:
        message.body = await reader.read()
    return message
