"""The contract over a real channel: what was asked for, or a refusal with its status."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from sidecar.formats.spec import RequestKind
from sidecar.rpc import origin_pb2, origin_pb2_grpc
from sidecar.service import servicer
from sidecar.service.presentations import PresentationCache
from sidecar.service.server import make_server
from tests.support.license import licensed
from tests.support.media import generated

SIMPLE = b"""<?xml version="1.0" encoding="utf-8"?>
<smil xmlns="http://www.w3.org/2001/SMIL20/Language"><body><switch>
<audio src="clip.mp4" systemBitrate="64000"/><video src="clip.mp4" systemBitrate="200000"/>
</switch></body></smil>"""

Ask = Callable[..., Any]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A document root: clip.mp4, and video.ism over it."""
    shutil.copyfile(generated("bframes_closed.mp4"), tmp_path / "clip.mp4")
    (tmp_path / "video.ism").write_bytes(SIMPLE)
    return tmp_path


@pytest.fixture
def presentations() -> Iterator[PresentationCache]:
    with ThreadPoolExecutor(2) as executor:
        yield PresentationCache(64 << 20, executor)


@pytest.fixture
async def ask(
    root: Path, presentations: PresentationCache, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Ask]:
    """Sends a request with these fields through a Unix socket."""
    server, _ = await make_server(presentations, licensed())
    address = f"unix:{tmp_path_factory.mktemp('s')}/s"
    server.add_insecure_port(address)
    await server.start()
    async with grpc.aio.insecure_channel(address) as channel:
        stub = origin_pb2_grpc.OriginStub(channel)

        def call(virtual_path: str, path: str = "/video.ism", **fields: Any) -> Any:
            fields = {"document_root": str(root), "method": "GET", "request_id": "r1"} | fields
            return stub.Plan(
                origin_pb2.PlanRequest(path=path, virtual_path=virtual_path, **fields), timeout=60
            )

        yield call
    await server.stop(None)


def body(plan: origin_pb2.Plan) -> bytes:
    """What nginx would send."""
    pieces = []
    for part in plan.parts:
        if part.WhichOneof("kind") == "inline":
            pieces.append(part.inline)
            continue
        with open(plan.sources[part.file.source].path, "rb") as file:
            for offset, length in zip(part.file.offset, part.file.length, strict=True):
                pieces.append(os.pread(file.fileno(), length, offset))
    data = b"".join(pieces)
    assert len(data) == plan.length
    return data


async def test_a_master_playlist(ask: Ask, root: Path) -> None:
    plan = (await ask(".m3u8")).plan
    assert (plan.result, plan.status) == (origin_pb2.FMP4_OK, 200)
    assert plan.cache_class == origin_pb2.CACHE_MANIFEST
    assert body(plan).startswith(b"#EXTM3U\n")
    status = (root / "video.ism").stat()
    assert plan.last_modified == status.st_mtime_ns // 10**9
    assert [source.path for source in plan.sources] == [
        str(root / "video.ism"),
        str(root / "clip.mp4"),
    ]
    assert (plan.sources[0].size, plan.sources[0].mtime_ns, plan.sources[0].inode) == (
        status.st_size,
        status.st_mtime_ns,
        status.st_ino,
    )


async def test_head_is_planned_as_get(ask: Ask) -> None:
    assert (await ask(".mpd", method="HEAD")).plan == (await ask(".mpd")).plan


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "get"])
async def test_other_methods_are_refused(ask: Ask, method: str) -> None:
    plan = (await ask(".mpd", method=method)).plan
    assert (plan.result, plan.status) == (origin_pb2.FMP4_METHOD_NOT_ALLOWED, 405)
    assert [(header.name, header.value) for header in plan.headers] == [
        ("Allow", "GET, HEAD, OPTIONS")
    ]


async def test_a_segment_and_what_is_read_ahead(ask: Ask) -> None:
    first = "hls/video-video=200000-1.m4s"
    reply = await ask(first, read_ahead=2)
    assert [ahead.virtual_path for ahead in reply.ahead] == [
        "hls/video-video=200000-2.m4s",
        "hls/video-video=200000-3.m4s",
    ]
    assert reply.plan.cache_class == origin_pb2.CACHE_MEDIA
    for ahead in reply.ahead:
        alone = (await ask(ahead.virtual_path)).plan
        assert ahead.plan == alone
        assert body(ahead.plan)[4:8] in (b"styp", b"moof")
    assert (await ask(first)).ahead == []


async def test_a_segment_does_not_wait_for_a_download(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    find = servicer.find

    def slow(virtual_path: str) -> Any:
        found = find(virtual_path)
        if found is None or not virtual_path.endswith(".m4a"):
            return found

        def answer(request: Any) -> Any:
            begun.set()
            assert go_on.wait(60)
            return found[0].answer(request)

        return replace(found[0], answer=answer), found[1]

    monkeypatch.setattr(servicer, "find", slow)
    download = asyncio.ensure_future(ask("video.m4a"))
    try:
        assert await asyncio.to_thread(begun.wait, 60)
        plan = (await ask("video-audio=64000-video=200000-1.ts")).plan
        assert (plan.status, plan.kind) == (200, "hls.ts_segment")
        assert not download.done()
    finally:
        go_on.set()
    assert (await download).plan.status == 200


async def test_read_ahead_is_bounded(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = servicer.find

    def spy(virtual_path: str) -> Any:
        found = real(virtual_path)
        assert found is not None
        kind, match = found

        def answer(request: Any) -> Any:
            seen.append(request.read_ahead)
            return kind.answer(request)

        copy = RequestKind(name=kind.name, format=kind.format, pattern=kind.pattern, answer=answer)
        return copy, match

    monkeypatch.setattr(servicer, "find", spy)
    await ask("hls/video-video=200000-1.m4s", read_ahead=2**32 - 1)
    assert seen == [servicer.MAX_READ_AHEAD]


async def test_entity_tags_follow_the_content_not_the_place(ask: Ask, root: Path) -> None:
    segment = "hls/video-video=200000-1.m4s"
    plan = (await ask(segment)).plan
    assert plan.etag[0] == plan.etag[-1] == '"'
    other = (await ask("hls/video-video=200000-2.m4s")).plan
    assert other.etag != plan.etag
    # a copy of the file with the same times has the same tag, though another inode
    shutil.copy2(root / "clip.mp4", root / "copy.mp4")
    (root / "copy.mp4").replace(root / "clip.mp4")
    again = (await ask(segment)).plan
    assert again.sources[1].inode != plan.sources[1].inode
    assert again.etag == plan.etag
    os.utime(root / "clip.mp4", ns=(1, 1))
    assert (await ask(segment)).plan.etag != plan.etag


async def test_a_media_file_without_manifest(ask: Ask) -> None:
    plan = (await ask(".m3u8", path="/clip.mp4")).plan
    assert plan.status == 200
    assert len(plan.sources) == 1


async def test_a_changed_manifest_is_read_anew(ask: Ask, root: Path) -> None:
    before = body((await ask(".m3u8")).plan)
    (root / "video.ism").write_bytes(SIMPLE.replace(b"200000", b"987000"))
    after = body((await ask(".m3u8")).plan)
    assert b"video=200000" in before and b"video=987000" not in before
    assert b"video=987000" in after


async def test_a_symlink_turned_elsewhere_is_seen(ask: Ask, root: Path) -> None:
    outside = root.parent / f"{root.name}-outside.ism"
    outside.write_bytes(SIMPLE)
    link = root / "link.ism"
    link.symlink_to("video.ism")
    assert (await ask(".m3u8", path="/link.ism")).plan.status == 200
    link.unlink()
    link.symlink_to(outside)
    plan = (await ask(".m3u8", path="/link.ism")).plan
    outside.unlink()
    assert (plan.result, plan.status) == (origin_pb2.FMP4_FORBIDDEN, 403)


@pytest.mark.parametrize(
    ("virtual_path", "fields", "result", "status"),
    [
        (".m3u8", {"path": "/absent.ism"}, "FMP4_NOT_FOUND", 404),
        (".m3u8", {"path": "/../../../etc/passwd.ism"}, "FMP4_FORBIDDEN", 403),
        (".m3u8", {"path": "/a\0b.ism"}, "FMP4_BAD_REQUEST", 400),
        (".m3u8", {"path": "/video.txt"}, "FMP4_NOT_FOUND", 404),
        (".m3u8", {"document_root": "media"}, "FMP4_BAD_REQUEST", 400),
        ("nonsense", {}, "FMP4_NOT_FOUND", 404),
        ("", {}, "FMP4_NOT_FOUND", 404),
        ("hls/video-video=1-1.m4s", {}, "FMP4_NOT_FOUND", 404),
        ("hls/video-video=200000-999.m4s", {}, "FMP4_FRAGMENT_NOT_AVAILABLE", 404),
        ("dash/video-video=200000-7.dash", {}, "FMP4_FRAGMENT_MISSING", 404),
        (".m3u8", {"args": "hls_minimum_fragment_length=x"}, "FMP4_BAD_REQUEST", 400),
    ],
)
async def test_refusals(
    ask: Ask, root: Path, virtual_path: str, fields: dict[str, str], result: str, status: int
) -> None:
    plan = (await ask(virtual_path, **fields)).plan
    assert (origin_pb2.Result.Name(plan.result), plan.status) == (result, status)
    assert plan.content_type == "text/plain; charset=utf-8"
    assert plan.cache_class == origin_pb2.CACHE_NONE
    assert plan.etag == ""
    sentence = body(plan).decode()
    assert sentence.count("\n") == 1
    assert str(root) not in sentence


@pytest.mark.parametrize(
    "text", [b"", b"<smil/>", b"not xml", SIMPLE.replace(b"</switch>", b""), b"\xff\xfe" * 9]
)
async def test_server_manifests_that_are_damaged(ask: Ask, root: Path, text: bytes) -> None:
    (root / "video.ism").write_bytes(text)
    with capture_logs() as logs:
        plan = (await ask(".m3u8")).plan
    assert (plan.result, plan.status) == (origin_pb2.FMP4_INVALID_MEDIA, 415)
    assert [entry["file"] for entry in logs] == [str(root / "video.ism")]


async def test_damaged_media_are_logged_with_their_place(ask: Ask, root: Path) -> None:
    data = bytearray((root / "clip.mp4").read_bytes())
    at = data.index(b"stsz")
    data[at - 4 : at] = b"\x7f\xff\xff\xff"
    (root / "clip.mp4").write_bytes(data)
    with capture_logs() as logs:
        for _ in range(2):
            plan = (await ask(".m3u8", request_id="r77")).plan
            assert (plan.result, plan.status) == (origin_pb2.FMP4_INVALID_MEDIA, 415)
            assert str(root).encode() not in body(plan)
    assert len(logs) == 2, "one line for each failed request"
    for entry in logs:
        assert entry["request_id"] == "r77"
        assert entry["file"] == str(root / "clip.mp4")
        assert "stsz" in entry["box"]
        assert entry["offset"] == at - 4
        assert "exc_info" not in entry


async def test_a_manifest_whose_media_is_gone(ask: Ask, root: Path) -> None:
    (root / "clip.mp4").unlink()
    plan = (await ask(".m3u8")).plan
    assert (plan.result, plan.status) == (origin_pb2.FMP4_NOT_FOUND, 404)


@pytest.mark.parametrize("src", ["../outside.mp4", "/etc/passwd", "http://127.0.0.1:9/a.mp4"])
async def test_manifests_cannot_reach_outside(ask: Ask, root: Path, src: str) -> None:
    (root / "video.ism").write_bytes(SIMPLE.replace(b"clip.mp4", src.encode()))
    plan = (await ask(".m3u8")).plan
    assert (plan.result, plan.status) == (origin_pb2.FMP4_FORBIDDEN, 403)


async def test_a_fault_is_logged_with_its_traceback_and_told_without(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(virtual_path: str) -> None:
        raise ZeroDivisionError("a secret detail")

    monkeypatch.setattr(servicer, "find", broken)
    with capture_logs() as logs:
        plan = (await ask(".m3u8")).plan
    assert (plan.result, plan.status) == (origin_pb2.FMP4_INTERNAL_ERROR, 500)
    assert b"secret" not in body(plan)
    assert [entry["exc_info"] for entry in logs] == [True]


async def test_concurrent_first_requests_index_once(
    ask: Ask, presentations: PresentationCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sidecar.service import index_cache

    calls = []
    real = index_cache.index_media

    def counted(source: Any, data_file: Any) -> Any:
        calls.append(source.identity.path)
        return real(source, data_file)

    monkeypatch.setattr(index_cache, "index_media", counted)
    replies = await asyncio.gather(*(ask(path) for path in [".m3u8", ".mpd"] * 8))
    assert all(reply.plan.status == 200 for reply in replies)
    assert len(calls) == 1
    assert len(presentations) == 1


async def test_a_caller_that_goes_away_stops_the_work(
    ask: Ask, presentations: PresentationCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, cancelled = asyncio.Event(), asyncio.Event()

    async def endless(*asked: Any, **how: Any) -> None:
        entered.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    monkeypatch.setattr(presentations, "get", endless)
    call = ask(".m3u8")
    running = asyncio.ensure_future(call)
    await asyncio.wait_for(entered.wait(), 60)
    call.cancel()
    await asyncio.wait_for(cancelled.wait(), 60)
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_dropped_indexes_take_their_presentations_along(
    ask: Ask, root: Path, presentations: PresentationCache
) -> None:
    digests = set()
    presentations.index.budget = 1
    for number in range(3):
        shutil.copyfile(root / "clip.mp4", root / f"clip{number}.mp4")
        plan = (await ask(".m3u8", path=f"/clip{number}.mp4")).plan
        digests.add(hashlib.sha256(body(plan)).hexdigest())
        assert (len(presentations), len(presentations.index)) == (1, 1)
    assert len(digests) == 3, "each names its own basename"


async def test_a_stop_lets_calls_in_flight_finish(
    root: Path, presentations: PresentationCache, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server, health = await make_server(presentations, licensed())
    address = f"unix:{tmp_path_factory.mktemp('s')}/s"
    server.add_insecure_port(address)
    await server.start()
    entered, go = asyncio.Event(), asyncio.Event()
    real = presentations.get

    async def slow(*asked: Any, **how: Any) -> Any:
        entered.set()
        await go.wait()
        return await real(*asked, **how)

    presentations.get = slow  # type: ignore[method-assign]
    async with grpc.aio.insecure_channel(address) as channel:
        call = origin_pb2_grpc.OriginStub(channel).Plan(
            origin_pb2.PlanRequest(document_root=str(root), path="/video.ism", virtual_path=".mpd")
        )
        running = asyncio.ensure_future(call)
        await asyncio.wait_for(entered.wait(), 60)
        await health.enter_graceful_shutdown()
        stopping = asyncio.ensure_future(server.stop(10))
        await asyncio.sleep(0.1)
        assert not stopping.done()
        go.set()
        assert (await asyncio.wait_for(running, 60)).plan.status == 200
        await asyncio.wait_for(stopping, 60)
