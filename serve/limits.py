"""Bounds on what a client may upload, enforced before the form is parsed."""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

DEPTH_PATH = "/v1/depth"
MAX_BODY_BYTES = 32 << 20


class UploadGuard:
    """ASGI middleware: answers 415 to a body that is not a multipart form, and 413 to one that is too large.

    The declared length is checked first, and the bytes are counted as they arrive, so that neither a wrong length nor a
    chunked body can fill the disk.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self.app = app
        self.max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or scope["path"] != DEPTH_PATH or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        content_type = headers.get("content-type", "")
        if not content_type.lower().startswith("multipart/form-data"):
            found = content_type or "none"
            await _refuse(415, f"Content-Type: expected multipart/form-data, found {found[:100]}", scope, receive, send)
            return
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > self.max_body_bytes:
            await _refuse(413, self._too_large(), scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_body_bytes:
                raise HTTPException(413, self._too_large())
            return message

        await self.app(scope, counted, send)

    def _too_large(self) -> str:
        return f"body: more than {self.max_body_bytes} bytes; send a smaller image"


async def _refuse(status: int, error: str, scope: Scope, receive: Receive, send: Send) -> None:
    await JSONResponse({"error": error}, status)(scope, receive, send)
