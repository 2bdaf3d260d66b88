"""Connections of the HTTP server: aiohttp's, which end when a client is too slow or sends what is no HTTP."""

import asyncio
import logging
import math
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod
from aiohttp.web_protocol import RequestHandler

from pipeline.serving.rest import Answer

LEAST_BYTES_PER_SEC = 1000
# What the HTTP library of TensorFlow Serving answers by itself.
_PAGE = "<HTML><HEAD>\n<TITLE>{0} {1}</TITLE>\n</HEAD><BODY>\n<H1>{1}</H1>\n</BODY></HTML>\n"
_REASONS = {400: "Bad Request", 404: "Not Found", 501: "Not Implemented"}
_log = logging.getLogger(__name__)


def make_page(status: int) -> Answer:
    """Return the answer to a request that never reaches the REST API: 400, 404 or 501."""
    return Answer(status, _PAGE.format(status, _REASONS[status]).encode(), "text/html")


class Watch:
    """Disconnects a client that takes an answer too slowly.

    Args:
        transport: The connection.
        every_secs: How often it is looked at.
    """

    def __init__(self, transport: asyncio.Transport, every_secs: float):
        self._transport = transport
        self._every_secs = every_secs
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, waiting_bytes: float = math.inf) -> None:
        """Look at the connection later, when fewer bytes have to wait to be sent than now."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._every_secs, self._look, waiting_bytes)

    def end(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self, before: float) -> None:
        now = self._transport.get_write_buffer_size()
        if before - now < self._every_secs * LEAST_BYTES_PER_SEC:
            self._transport.abort()
        else:
            self.begin(now)


class _Connection(RequestHandler):
    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP; the log keeps only errors of the server, since clients could fill it."""
        if status != 400:
            return super().handle_error(request, status, exc, message)
        _log.debug("not HTTP: %s", exc)
        answer = make_page(501 if isinstance(exc, BadHttpMethod) else 400)
        response = web.Response(status=answer.status, body=answer.body, content_type=answer.content_type)
        response.force_close()
        return response


class Server(web.Server):
    """aiohttp's server, which disconnects clients that do not finish their first header in time."""

    def __init__(self, handler: Any, *, first_header_secs: float, **options: Any):
        super().__init__(handler, **options)
        self._first_header_secs = first_header_secs
        self._waiting: dict[Any, asyncio.TimerHandle] = {}

    def __call__(self) -> RequestHandler:
        """Return what answers on a new connection."""
        return _Connection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Begin to wait for the first header."""
        super().connection_made(handler, transport)
        loop = asyncio.get_running_loop()
        self._waiting[handler] = loop.call_later(self._first_header_secs, transport.abort)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Wait no more."""
        self.begin(handler)
        super().connection_lost(handler, exc)

    def begin(self, handler: Any) -> None:
        """Note that a connection has sent a header."""
        timer = self._waiting.pop(handler, None)
        if timer is not None:
            timer.cancel()
