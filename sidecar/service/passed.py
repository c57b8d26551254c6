"""Requests that nginx passes on to this process as they are, over HTTP."""

from __future__ import annotations

import base64
import binascii
import errno
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web
from google.protobuf.message import DecodeError

from sidecar.errors import BadRequest, InvalidMedia, OriginError, Result, StorageError
from sidecar.rpc import origin_pb2
from sidecar.service.statuses import status_of

# What nginx adds: the request as Plan would get it, and who has sent it.
HEADER, SENDER = "X-Origin-Request", "X-Origin-Sender"
RESULT, KIND = "X-Origin-Result", "X-Origin-Kind"
# A license key of 4096 bytes, paths and directives, in base 64.
MAX_HEADER_BYTES = 64 << 10

_TEXT = "text/plain; charset=utf-8"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_INSUFFICIENT_STORAGE = 507
# The other one is that of the memory that processes share, a file as well.
_NO_ROOM = frozenset(("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """A request. ``directives``: those of the location, name -> arguments. ``sender``: address and
    port of the client."""

    method: str
    document_root: str
    path: str
    virtual_path: str
    args: str
    directives: Mapping[str, tuple[str, ...]]
    request_id: str
    sender: str

    def is_on(self, flag: str) -> bool:
        """Whether the directive ``flag`` is given, and not off."""
        args = self.directives.get(flag)
        return args is not None and args[:1] != ("off",)


def passed(request: web.BaseRequest) -> Passed:
    """What nginx says of ``request``. Raises ``BadRequest`` when that did not come from nginx."""
    try:
        encoded = base64.b64decode(request.headers.get(HEADER, ""), validate=True)
        plan = origin_pb2.PlanRequest.FromString(encoded)
    except (binascii.Error, DecodeError, ValueError):
        raise BadRequest("the request did not come through nginx") from None
    return Passed(
        method=request.method,
        document_root=plan.document_root,
        path=plan.path,
        virtual_path=plan.virtual_path,
        args=plan.args,
        directives={given.name: tuple(given.args) for given in plan.directives},
        request_id=plan.request_id,
        sender=request.headers.get(SENDER, ""),
    )


def answer(
    status: int,
    body: bytes = b"",
    *,
    kind: str,
    content_type: str = _TEXT,
    result: Result = Result.FMP4_OK,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """An answer that nginx knows the result and kind of."""
    own = {"Content-Type": content_type, RESULT: result.name, KIND: kind}
    return web.Response(status=status, body=body, headers={**own, **(headers or {})})


def refused(error: OriginError, *, kind: str) -> web.Response:
    """The answer that says ``error``."""
    return answer(
        status_of_upload(error),
        f"{error.sentence}\n".encode(),
        kind=kind,
        result=error.result,
    )


def status_of_upload(error: OriginError) -> int:
    """The status of a request that sends media or settings and ended in ``error``: what is damaged
    has come from the client, and the disk that fails is this one."""
    if isinstance(error, InvalidMedia):
        return 400
    if isinstance(error, StorageError):
        return _INSUFFICIENT_STORAGE if is_full(error) else 500
    return status_of(error.result)


def is_full(error: StorageError) -> bool:
    """Whether there was no room."""
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorname", "") in _NO_ROOM
    return isinstance(cause, OSError) and cause.errno in _FULL
