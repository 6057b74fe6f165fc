"""What host and server agree on: the limits of a frame, and how a request that cannot be done is answered.

A frame is two big-endian 32-bit lengths, a header in JSON, and raw bytes.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]
    #: Paths, each with what is said of it.
    Remarks = list[tuple[str, str]]

PROTOCOL = 1
CHUNK = 65536
#: A header or body larger than this is not ours.
FRAME_LIMIT = 256 << 20


class RequestRefused(Exception):
    """A request that cannot be done; `kind` is what the host raises for it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def refusal(error: BaseException, path: str = "") -> Json:
    """Return the error reply for an exception; `path` is what the request was about."""
    if isinstance(error, RequestRefused):
        return {"kind": "error", "error": error.kind, "message": str(error)}
    if isinstance(error, OSError):
        denied = isinstance(error, PermissionError) or error.errno == errno.EROFS
        kind = "permission" if denied else "os"
        return {"kind": "error", "error": kind, "message": named(error, path), "errno": error.errno}
    return {"kind": "error", "error": "internal", "message": f"{type(error).__name__}: {error}"}


def named(error: OSError, path: str) -> str:
    """Say what is wrong and with which file: the one that was asked for, else the one that the system names."""
    where = path or error.filename or ""
    if isinstance(where, bytes):
        where = os.fsdecode(where)
    what = error.strerror or str(error)
    return f"{where}: {what}" if where else what
