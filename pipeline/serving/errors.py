"""Errors that clients see: a canonical code and a message, as REST status and as gRPC status."""

import logging
from typing import Any

_log = logging.getLogger(__name__)

# gRPC's canonical codes with the HTTP status that TensorFlow Serving answers for each.
HTTP_STATUS = {
    "OK": 200,
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}
# The names in the order of their numbers, which TensorFlow and gRPC share; 16 is UNAUTHENTICATED.
CODES = tuple(HTTP_STATUS)
_LONGEST_GRPC_MESSAGE = 1024


class ServingError(Exception):
    """An answer that is an error.

    Args:
        code: The name of a canonical code, such as "NOT_FOUND".
        message: What clients read; None where TensorFlow Serving answers with an empty body.
        empty_body: Answer REST calls without a body.
    """

    def __init__(self, code: str, message: str, *, empty_body: bool = False):
        super().__init__(message)
        self.code = code
        self.message = message
        self.empty_body = empty_body

    @property
    def http_status(self) -> int:
        """The HTTP status of the code."""
        return HTTP_STATUS[self.code]

    @property
    def number(self) -> int:
        """The number of the code, as protocol buffers hold it."""
        return CODES.index(self.code)

    @property
    def text(self) -> str:
        """The message as protocol buffers hold it: in UTF-8; TensorFlow quotes any bytes."""
        return self.message.encode("utf-8", "surrogateescape").decode("utf-8", "replace")

    @property
    def grpc_message(self) -> str:
        """The text as gRPC carries it: cut, since trailers have a limit."""
        message = self.text
        if len(message) > _LONGEST_GRPC_MESSAGE:
            return message[:_LONGEST_GRPC_MESSAGE] + "...TRUNCATED"
        return message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def invalid(message: str) -> ServingError:
    """Return an INVALID_ARGUMENT error."""
    return ServingError("INVALID_ARGUMENT", message)


def from_tensorflow(error: Any) -> ServingError:
    """Return the error of a session's run, a `tf.errors.OpError`, as clients see it."""
    code = error.error_code
    name = CODES[code] if isinstance(code, int) and 0 < code < len(CODES) else "UNKNOWN"
    return ServingError(name, error.message)


def to_error(caught: Exception) -> ServingError:
    """Return what clients see of an error; one that is not meant for them is logged."""
    if isinstance(caught, ServingError):
        return caught
    _log.error("a call failed", exc_info=caught)
    return ServingError("INTERNAL", f"{type(caught).__name__}: {caught}")
