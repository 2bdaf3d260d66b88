"""The HTTP server before the REST API: aiohttp's, with limits on bodies, calls and slow clients.

All calls are answered in the event loop; what takes long goes to threads from there.
"""

import asyncio
import contextlib
import re
import ssl
import time
from collections.abc import Awaitable, Callable, Collection, Mapping

from aiohttp import ClientConnectionError, web

from pipeline.serving.bodies.answers import write_error
from pipeline.serving.connections import LEAST_BYTES_PER_SEC, Server, Watch, make_page
from pipeline.serving.rest import Answer

_METHODS = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"})
# A target of a request by RFC 3986: perhaps a scheme and a host, then path, query and fragment.
_CHARACTER = r"[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2}"
_TARGET = re.compile(
    r"(?:[A-Za-z][A-Za-z0-9+.\-]*://[^/?#]*)?"
    rf"((?:{_CHARACTER})*(?:\?(?:{_CHARACTER}|\?)*)?(?:#(?:{_CHARACTER}|\?)*)?)"
)
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}
_IDLE_SECS = 75
_MOST_HEADER_BYTES = 64 * 1024
# An answer that the system's buffers take, so that nobody waits for it.
_AT_ONCE_BYTES = 16 * 1024

# Answers a call, or None if the handler does not know its path.
Handler = Callable[[str, str, Mapping[str, str], bytes], Awaitable["Answer | None"]]


class HttpServer:
    """Answers calls by handlers.

    Args:
        handlers: Asked in their order; the first that answers does.
        max_body_bytes: Longer bodies are refused.
        max_calls: More calls at a time are refused.
        client_timeout_secs: Clients that send or take nothing for this long are disconnected.
        cors: Add the headers that let web pages of other hosts call.
        uncounted: Paths of health and metrics: answered however many calls there are, whatever their bodies.
    """

    def __init__(
        self,
        handlers: list[Handler],
        *,
        max_body_bytes: int,
        max_calls: int,
        client_timeout_secs: float,
        cors: bool,
        uncounted: Collection[str] = (),
    ):
        self._handlers = handlers
        self._uncounted = frozenset(uncounted)
        self._max_body_bytes = max_body_bytes
        self._max_calls = max_calls
        self._timeout_secs = client_timeout_secs
        self._headers = _CORS if cors else {}
        self._calls = 0
        self._is_stopping = False
        self._server: Server | None = None
        self._runner: web.ServerRunner | None = None

    async def start(self, address: str, port: int, tls: ssl.SSLContext | None) -> int:
        """Begin to listen; returns the port.

        Raises:
            OSError: The port is taken.
        """
        self._server = Server(
            self._answer,
            first_header_secs=self._timeout_secs,
            keepalive_timeout=_IDLE_SECS,
            auto_decompress=False,
            access_log=None,
            max_line_size=_MOST_HEADER_BYTES,
            max_field_size=_MOST_HEADER_BYTES,
        )
        self._runner = web.ServerRunner(self._server, handle_signals=False, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, address, port, ssl_context=tls)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self, drain_secs: float) -> None:
        """Take no more connections, wait for the calls under way, and end."""
        if self._runner is None:
            return
        self._is_stopping = True
        for site in list(self._runner.sites):
            await site.stop()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._wait_until_idle(), drain_secs)
        await self._runner.cleanup()

    async def _wait_until_idle(self) -> None:
        while self._calls:
            await asyncio.sleep(0.01)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._server is not None:
            self._server.begin(request.protocol)
        if request.raw_path in self._uncounted:
            response = self._respond(await self._handle(request.method, request.raw_path, {}, b""))
            await self._send(response, request)
            return response
        if self._calls >= self._max_calls:
            return self._respond(Answer(503, write_error("too many calls at a time; try again later")))
        self._calls += 1
        try:
            body = await self._read_body(request)
            if isinstance(body, Answer):
                response = self._respond(body)
                response.force_close()
            else:
                lower = {name.lower(): value for name, value in request.headers.items()}
                response = self._respond(await self._handle(request.method, request.raw_path, lower, body))
            await self._send(response, request)
            return response
        finally:
            self._calls -= 1

    async def _handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        if method not in _METHODS:
            return make_page(501)
        target = _TARGET.fullmatch(path)
        if target is None:
            return make_page(400)
        for handler in self._handlers:
            answer = await handler(method, target[1] or "/", headers, body)
            if answer is not None:
                return answer
        return make_page(404)

    async def _send(self, response: web.Response, request: web.BaseRequest) -> None:
        """Send an answer while its call still counts, so that clients that read slowly are few too."""
        if request.transport is None:
            return
        watch = Watch(request.transport, self._timeout_secs)
        try:
            await response.prepare(request)
            if request.transport.get_write_buffer_size() + (response.content_length or 0) > _AT_ONCE_BYTES:
                watch.begin()
            await response.write_eof()
        except (ConnectionError, ClientConnectionError):
            # aiohttp sends it once more, and meets the same.
            response.force_close()
        finally:
            watch.end()

    async def _read_body(self, request: web.BaseRequest) -> bytes | Answer:
        if not request.body_exists:
            return b""
        too_large = Answer(413, write_error(f"body: expected at most {self._max_body_bytes} bytes"))
        if (request.content_length or 0) > self._max_body_bytes:
            return too_large
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        content = request.content
        parts: list[bytes] = []
        size, begin = 0, time.monotonic()
        while True:
            part: bytes | None
            try:
                if content.is_eof():
                    part = content.read_nowait()
                else:
                    part = await asyncio.wait_for(content.readany(), self._timeout_secs)
            except asyncio.TimeoutError:
                part = None
            except (ConnectionError, ClientConnectionError):
                return Answer(400, write_error("body: the client has gone"))
            waited = time.monotonic() - begin
            if part is None or (waited > self._timeout_secs and size < waited * LEAST_BYTES_PER_SEC):
                return Answer(408, write_error("body: the client sends too slowly"))
            if not part:
                return b"".join(parts)
            size += len(part)
            if size > self._max_body_bytes:
                return too_large
            parts.append(part)

    def _respond(self, answer: Answer) -> web.Response:
        response = web.Response(status=answer.status, body=answer.body, headers=self._headers)
        if answer.content_type is None:
            response.headers.pop("Content-Type", None)
        else:
            response.headers["Content-Type"] = answer.content_type
        if self._is_stopping:
            # A client that keeps its connection would be cut off in one of its next calls.
            response.force_close()
        return response
