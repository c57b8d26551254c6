"""Answers that are files as they stand, here or on another server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from contextvars import copy_context
from functools import partial
from pathlib import PurePosixPath
from typing import ParamSpec, TypeVar

from sidecar.errors import NotFound, Replaced
from sidecar.formats.spec import StoredAnswer
from sidecar.license.terms import License
from sidecar.media.options import parse_options
from sidecar.mux.plan import Plan
from sidecar.rpc import origin_pb2
from sidecar.service.content import MANIFEST_EXTENSIONS, MEDIA_EXTENSIONS, open_content
from sidecar.service.convert import SourceTable, write_plan
from sidecar.service.licensing import lasting_ms
from sidecar.service.packaged import packaged_answer
from sidecar.service.remote import remote_table, ttl_ms
from sidecar.service.static import static_answer
from sidecar.storage.remote import RemoteStore
from sidecar.storage.source import ReadRange, SourceIdentity

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(
    store: RemoteStore | None, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """What ``function`` returns, called in a thread: one of those that wait for other servers, if
    it may have to. It is called once more when a file was replaced there while it was read."""
    if store is None:
        return await asyncio.to_thread(function, *args, **kwargs)
    loop = asyncio.get_running_loop()
    run = partial(copy_context().run, function, *args, **kwargs)
    try:
        return await loop.run_in_executor(store.executor, run)
    except Replaced:
        return await loop.run_in_executor(store.executor, run)


def reader(local: ReadRange, store: RemoteStore | None) -> ReadRange:
    """Reads local files, by ``local``, and those in ``store``."""
    if store is None:
        return local

    def read(identity: SourceIdentity, offset: int, length: int) -> bytes:
        return (store.read if identity.is_remote else local)(identity, offset, length)

    return read


def stored_answer(
    answer: StoredAnswer,
    request: origin_pb2.PlanRequest,
    local: ReadRange,
    store: RemoteStore | None,
) -> tuple[Plan, tuple[SourceIdentity, ...]] | None:
    """The answer from a media file that need not be indexed, and the file as its source.

    Raises as ``open_content`` and ``answer``.
    """
    extensions = MANIFEST_EXTENSIONS | MEDIA_EXTENSIONS
    if PurePosixPath(request.path).suffix.lower() in MANIFEST_EXTENSIONS:
        raise NotFound("no manifest or segment has this name")
    with closing(open_content(request.document_root, request.path, extensions, store)) as file:
        identity = file.identity
    found = answer(parse_options({}, request.args), identity, reader(local, store))
    return None if found is None else (found.plan, (identity,))


async def packaged_reply(
    request: origin_pb2.PlanRequest,
    local: ReadRange,
    store: RemoteStore | None,
    license: License,
) -> origin_pb2.PlanReply:
    """A fragment of packaged HDS. Raises as ``packaged_answer``."""
    names = (request.document_root, request.path, request.virtual_path)
    found = await in_thread(store, packaged_answer, *names, reader(local, store), store)
    reply = origin_pb2.PlanReply()
    await write_stored(reply.plan, *found, store, license, "hds", "hds.packaged")
    return reply


async def static_reply(
    request: origin_pb2.PlanRequest, store: RemoteStore | None, license: License
) -> origin_pb2.PlanReply | None:
    """The file that stands where something would be made, None when there is none. Raises as
    ``static_answer``."""
    names = (request.document_root, request.path, request.virtual_path)
    found = await in_thread(store, static_answer, *names, store)
    if found is None:
        return None
    reply = origin_pb2.PlanReply()
    await write_stored(reply.plan, *found, store, license, "", "static")
    return reply


async def write_stored(
    message: origin_pb2.Plan,
    plan: Plan,
    sources: tuple[SourceIdentity, ...],
    store: RemoteStore | None,
    license: License,
    format_name: str,
    kind_name: str,
) -> None:
    """``write_plan`` of what is made of the last one of ``sources`` as it is, and depends on all of
    them."""
    modified = max(source.mtime_ns for source in sources) // 1_000_000_000
    lasting = lasting_ms(license)
    if store is not None and sources[-1].is_remote:
        table = await in_thread(store, remote_table, store, sources, modified)
        lasting = min(lasting, ttl_ms(store, sources, table, plan.cache_class))
    else:
        table = SourceTable(sources, modified)
    write_plan(message, plan, table, format_name, kind=kind_name, ttl_ms=lasting)
