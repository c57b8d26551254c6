"""Requests for content on other servers, over the contract: as for local files, as far as one can
see; and what differs."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from sidecar.rpc import origin_pb2
from sidecar.service import remote as service_remote
from sidecar.service import servicer
from sidecar.service.presentations import PresentationCache
from sidecar.service.servicer import OriginServicer
from sidecar.storage import fetch, remote, signing
from tests.support.f4f import package
from tests.support.license import licensed
from tests.support.media import generated
from tests.support.references import referring
from tests.support.remote_http import Fault, Storage, serve

SECOND = 10**9
SMIL = """<smil xmlns="http://www.w3.org/2001/SMIL20/Language"><body><switch>
<audio src="{src}" systemBitrate="64000"/><video src="{src}" systemBitrate="200000"/>
{more}</switch></body></smil>"""
TEXT = '<textstream src="text.vtt" systemBitrate="1000" systemLanguage="en"/>'
VTT = "WEBVTT\n\n00:00.000 --> 00:04.000\nhello\n\n00:04.000 --> 00:09.000\nand bye\n"
FRAGMENTS = {1: (0, b"\0\0\0\x10mdat-first-"), 2: (4000, b"\0\0\0\x10mdat-other-")}


class Origin:
    """A servicer and what is asked of it. ``given``: directives of the location."""

    def __init__(self, own: OriginServicer, root: Path, storage: Storage) -> None:
        self._servicer = own
        self.root = root
        self.storage = storage
        self.given: dict[str, list[str]] = {"ism_proxy_pass": [f"{storage.base}/"]}

    async def reply(self, path: str, virtual: str = "", **fields: Any) -> Any:
        directives = [origin_pb2.Directive(name=n, args=a) for n, a in self.given.items()]
        request = origin_pb2.PlanRequest(
            document_root=str(self.root),
            path=path,
            virtual_path=virtual,
            method="GET",
            directives=directives,
            **fields,
        )
        return await self._servicer.Plan(request, None)

    async def plan(self, path: str, virtual: str = "", **fields: Any) -> Any:
        return (await self.reply(path, virtual, **fields)).plan

    async def body(self, path: str, virtual: str = "", **fields: Any) -> bytes:
        plan = await self.plan(path, virtual, **fields)
        assert plan.status == 200, plan
        return body(plan)


def body(plan: Any) -> bytes:
    """What nginx would send: what is remote as it is told to get it."""
    whole: dict[int, bytes] = {}
    pieces = []
    for part in plan.parts:
        if part.WhichOneof("kind") == "inline":
            pieces.append(part.inline)
            continue
        ranges = part.file
        which = list(ranges.sources) or [ranges.source] * len(ranges.offset)
        for source, offset, length in zip(which, ranges.offset, ranges.length, strict=True):
            if source == 2**64 - 1:
                data = ranges.inline
            elif source not in whole:
                data = whole[source] = content(plan.sources[source])
            else:
                data = whole[source]
            pieces.append(data[offset : offset + length])
    found = b"".join(pieces)
    assert len(found) == plan.length
    return found


def content(source: Any) -> bytes:
    if not source.HasField("remote"):
        return Path(source.path).read_bytes()
    assert not source.inode
    how = source.remote
    assert how.url.startswith(f"http://{how.address}/")
    headers = {"Host": how.host, **{header.name: header.value for header in how.headers}}
    with urllib.request.urlopen(urllib.request.Request(how.url, headers=headers)) as answer:
        data: bytes = answer.read()
    assert len(data) == source.size
    return data


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The monotonic clock of remote files, in its one element."""
    now = [100 * SECOND]
    monkeypatch.setattr(remote, "monotonic_ns", lambda: now[0])
    monkeypatch.setattr(fetch, "_BACKOFF_SECONDS", 0.001)
    return now


@pytest.fixture
def origin(tmp_path: Path, clock: list[int]) -> Iterator[Origin]:
    there = tmp_path / "there"
    (there / "vod").mkdir(parents=True)
    shutil.copyfile(generated("bframes_closed.mp4"), there / "vod" / "clip.mp4")
    data = (there / "vod" / "clip.mp4").read_bytes()
    (there / "vod" / "index.mp4").write_bytes(referring(data, b"clip.mp4\0"))
    (there / "vod" / "text.vtt").write_text(VTT)
    (there / "vod" / "video.ism").write_text(SMIL.format(src="clip.mp4", more=TEXT))
    (there / "vod" / "refers.ism").write_text(SMIL.format(src="index.mp4", more=""))
    package(there / "vod", "packed", FRAGMENTS, b"\0\0\0\x09abst\0")
    (tmp_path / "here").mkdir()
    with ThreadPoolExecutor(2) as executor, serve(there) as storage:
        own = OriginServicer(PresentationCache(64 << 20, executor), licensed())
        yield Origin(own, tmp_path / "here", storage)


SAME = [
    ("/vod/video.ism", ".m3u8"),
    ("/vod/video.ism", ".mpd"),
    ("/vod/video.ism", "Manifest"),
    ("/vod/video.ism", "video-video=200000.m3u8"),
    ("/vod/video.ism", "hls/video-video=200000-2.m4s"),
    ("/vod/video.ism", "video-audio=64000-video=200000-2.ts"),
    ("/vod/video.ism", "dash/video-video=200000-4000.dash"),
    ("/vod/video.ism", "dash/video-video=200000.dash"),
    ("/vod/video.ism", "QualityLevels(200000)/Fragments(video=40000000)"),
    ("/vod/video.ism", "video.mp4"),
    ("/vod/refers.ism", "dash/refers-audio=64000-0.dash"),
    ("/vod/refers.ism", ".mpd"),
    ("/vod/clip.mp4", ""),
    ("/vod/clip.mp4", ".mpd"),
    ("/vod/index.mp4", ""),
]


async def test_answers_are_those_for_local_files(origin: Origin) -> None:
    found = {asked: await origin.plan(*asked) for asked in SAME}
    origin.root, origin.given = origin.storage.folder, {}
    for asked, plan in found.items():
        local = await origin.plan(*asked)
        assert local.status == plan.status, (asked, plan)
        if plan.status == 200:
            assert body(plan) == body(local), asked
        assert (plan.content_type, plan.cache_class) == (local.content_type, local.cache_class)
        assert (plan.kind, plan.format) == (local.kind, local.format)
        assert plan.last_modified == local.last_modified
    assert sum(plan.status == 200 for plan in found.values()) >= 13


async def test_fragments_are_passed_through(origin: Origin) -> None:
    shutil.copyfile(generated("frag_piff.ismv"), origin.storage.folder / "vod" / "piff.ismv")
    asked = ("/vod/piff.ismv", "QualityLevels({rate})/Fragments({kind}=0)")
    origin.given["usp_iss_pass_through"] = ["on"]
    manifest = (await origin.body("/vod/piff.ismv", "Manifest")).decode()
    rate, kind = (re.findall(f'{name}="([^"]*)"', manifest)[0] for name in ("Bitrate", "Name"))
    virtual = asked[1].format(rate=rate, kind=kind)
    plan = await origin.plan(asked[0], virtual)
    assert not any(part.inline for part in plan.parts)
    passed = body(plan)
    assert passed in generated("frag_piff.ismv").read_bytes()
    assert passed[4:8] == b"moof"


async def test_text_comes_from_there(origin: Origin) -> None:
    master = (await origin.body("/vod/video.ism", ".m3u8")).decode()
    (name,) = re.findall(r'TYPE=SUBTITLES.*URI="([^"]*)"', master)
    playlist = (await origin.body("/vod/video.ism", name)).decode()
    segments = [line for line in playlist.splitlines() if line.endswith(".webvtt")]
    said = b"".join([await origin.body("/vod/video.ism", segment) for segment in segments])
    assert b"hello" in said
    assert b"and bye" in said


async def test_packaged_fragments(origin: Origin) -> None:
    origin.given["usp_handle_f4f"] = ["on"]
    for number, (_, fragment) in FRAGMENTS.items():
        found = await origin.body("/vod/packedSeg1.f4f", f"Seg1-Frag{number}")
        assert found.endswith(fragment)
    plan = await origin.plan("/vod/packedSeg1.f4f", "Seg1-Frag3")
    assert plan.status == 404
    assert (await origin.plan("/vod/noneSeg1.f4f", "Seg1-Frag1")).status == 404


async def test_static_files(origin: Origin) -> None:
    origin.given["usp_prefer_static"] = ["on"]
    made = await origin.plan("/vod/video.ism", ".mpd", read_ahead=3)
    assert made.kind == "dash.mpd"
    (origin.storage.folder / "vod" / "own.mpd").write_bytes(b"as it is")
    plan = await origin.plan("/vod/video.ism", "own.mpd")
    assert (plan.kind, plan.content_type) == ("static", "application/dash+xml")
    assert body(plan) == b"as it is"
    segment = ("/vod/video.ism", "dash/video-video=200000-0.dash")
    origin.storage.forget()
    assert not (await origin.reply(*segment, read_ahead=3)).ahead
    assert len(origin.storage.asked("*.dash")) == 1
    for denied in ("video.ism", "../clip.mp4", "index.isml"):
        assert (await origin.plan("/vod/video.ism", denied)).kind != "static"


async def test_a_prefix_of_the_path(origin: Origin) -> None:
    origin.given["ism_proxy_pass"] = ["/films/", f"{origin.storage.base}/vod/"]
    assert (await origin.plan("/films/video.ism", ".m3u8")).status == 200
    assert (await origin.plan("/vod/video.ism", ".m3u8")).status == 400


@pytest.mark.parametrize(
    "path",
    [
        "/../video.ism",
        "/vod/./video.ism",
        "//video.ism",
        "/vod\\video.ism",
        "/a%2fb.ism",
        "/a\r\n.ism",
    ],
)
async def test_paths_that_are_none(origin: Origin, path: str) -> None:
    assert (await origin.plan(path, ".m3u8")).status == 400
    assert not origin.storage.asked()


async def test_live_is_not_there(origin: Origin) -> None:
    assert (await origin.plan("/vod/ch.isml", ".m3u8")).status == 404
    assert not origin.storage.asked()


async def test_sources_elsewhere(origin: Origin) -> None:
    url = origin.storage.url("/vod/clip.mp4")
    here = origin.root / "here.ism"
    here.write_text(SMIL.format(src=url, more=""))
    origin.given = {}
    assert (await origin.plan("/here.ism", ".m3u8")).status == 403
    for denied in ("http://127.0.0.2:1/vod/", f"{origin.storage.base}/other/", "/srv/media"):
        origin.given = {"origin_allow_src": [denied]}
        assert (await origin.plan("/here.ism", ".m3u8")).status == 403
    assert not origin.storage.asked()
    origin.given = {"origin_allow_src": ["/srv/media", f"{origin.storage.base}/vod/"]}
    plan = await origin.plan("/here.ism", "dash/here-video=200000-0.dash")
    assert [source.HasField("remote") for source in plan.sources] == [False, True]
    mixed = body(plan)
    here.write_text(SMIL.format(src="vod/clip.mp4", more=""))
    (origin.root / "vod").symlink_to(origin.storage.folder / "vod")
    origin.given = {"origin_allow_src": [str(origin.storage.folder)]}
    assert await origin.body("/here.ism", "dash/here-video=200000-0.dash") == mixed


async def test_a_local_file_that_refers_elsewhere(origin: Origin) -> None:
    data = (origin.storage.folder / "vod" / "clip.mp4").read_bytes()
    url = origin.storage.url("/vod/clip.mp4").encode()
    (origin.root / "index.mp4").write_bytes(referring(data, url + b"\0"))
    origin.given = {}
    assert (await origin.plan("/index.mp4", ".mpd")).status == 415
    origin.given = {"origin_allow_src": [f"{origin.storage.base}/other/"]}
    assert (await origin.plan("/index.mp4", ".mpd")).status == 403
    assert not origin.storage.asked()
    origin.given = {"origin_allow_src": [f"{origin.storage.base}/vod/"]}
    plan = await origin.plan("/index.mp4", ".mpd")
    assert plan.status == 200
    # That it was possible for one location changes nothing for another.
    origin.given = {}
    assert (await origin.plan("/index.mp4", ".mpd")).status == 415


@pytest.mark.parametrize("src", ["../../x.mp4", "http://127.0.0.2:1/a.mp4", "file:///etc/passwd"])
async def test_sources_that_may_not_be_read(origin: Origin, src: str) -> None:
    (origin.storage.folder / "vod" / "bad.ism").write_text(SMIL.format(src=src, more=""))
    assert (await origin.plan("/vod/bad.ism", ".m3u8")).status == 403
    assert [asked.path for asked in origin.storage.asked()] == ["/vod/bad.ism"]


async def test_sources_stay_below_the_url(origin: Origin) -> None:
    origin.given["ism_proxy_pass"] = [f"{origin.storage.base}/vod/"]
    (origin.storage.folder / "outside.mp4").write_bytes(b"")
    (origin.storage.folder / "vod" / "bad.ism").write_text(
        SMIL.format(src="../outside.mp4", more="")
    )
    assert (await origin.plan("/bad.ism", ".m3u8")).status == 403


async def test_what_is_replaced_is_noticed(origin: Origin, clock: list[int]) -> None:
    segment = ("/vod/video.ism", "dash/video-video=200000-0.dash")
    before = await origin.plan(*segment)
    assert before.ttl_ms == 10_000
    clip = origin.storage.folder / "vod" / "clip.mp4"
    shutil.copyfile(generated("bframes_open.mp4"), clip.with_name("new"))
    clip.with_name("new").replace(clip)
    clock[0] += 4 * SECOND
    within = await origin.plan(*segment)
    assert within.etag == before.etag
    assert within.ttl_ms == 6000
    clock[0] += 7 * SECOND
    after = await origin.plan(*segment)
    assert after.status == 200
    assert after.etag != before.etag
    origin.root, origin.given = origin.storage.folder, {}
    assert body(after) == await origin.body(*segment)


async def test_what_nginx_finds_changed_is_looked_at_again(
    origin: Origin, clock: list[int]
) -> None:
    segment = ("/vod/video.ism", "dash/video-video=200000-0.dash")
    before = await origin.plan(*segment)
    clip = origin.storage.folder / "vod" / "clip.mp4"
    shutil.copyfile(generated("bframes_open.mp4"), clip.with_name("new"))
    clip.with_name("new").replace(clip)
    clock[0] += 2 * SECOND
    assert (await origin.plan(*segment)).etag == before.etag
    after = await origin.plan(*segment, recheck=1)
    assert after.status == 200
    assert after.etag != before.etag


@pytest.mark.parametrize(
    "asked", [("/vod/video.ism", "video-audio=64000-video=200000-2.ts"), ("/vod/clip.mp4", "")]
)
async def test_what_is_replaced_while_it_is_read(origin: Origin, asked: tuple[str, str]) -> None:
    clip = origin.storage.folder / "vod" / "clip.mp4"
    other = generated("bframes_open.mp4")

    def replaced(_: object) -> None:
        shutil.copyfile(other, clip.with_name("new"))
        clip.with_name("new").replace(clip)

    with origin.storage.fault("/vod/clip.mp4", Fault(before=replaced, from_byte=1, times=1)):
        plan = await origin.plan(*asked)
    assert clip.stat().st_size == other.stat().st_size
    assert plan.status == 200
    origin.root, origin.given = origin.storage.folder, {}
    assert body(plan) == await origin.body(*asked)


@pytest.mark.parametrize(
    ("fault", "status", "result"),
    [
        (Fault(status=404), 404, "FMP4_NOT_FOUND"),
        (Fault(status=403), 403, "FMP4_FORBIDDEN"),
        (Fault(status=500), 502, "FMP4_STORAGE_ERROR"),
        (Fault(cut_after=50), 502, "FMP4_STORAGE_ERROR"),
        (Fault(shifted=1), 502, "FMP4_STORAGE_ERROR"),
        (Fault(location="http://127.0.0.2:1/"), 502, "FMP4_STORAGE_ERROR"),
        (Fault(status=504), 504, "FMP4_STORAGE_TIMEOUT"),
    ],
)
@pytest.mark.parametrize("name", ["text.vtt", "clip.mp4"])
async def test_failures(origin: Origin, name: str, fault: Fault, status: int, result: str) -> None:
    with origin.storage.fault(f"/vod/{name}", fault), capture_logs() as lines:
        plan = await origin.plan("/vod/video.ism", ".m3u8")
    assert (plan.status, origin_pb2.Result.Name(plan.result)) == (status, result)
    said = body(plan).decode()
    assert "http" not in said
    assert str(origin.storage.port) not in said
    assert lines[-1]["file"] == origin.storage.url(f"/vod/{name}")
    assert (await origin.plan("/vod/video.ism", ".m3u8")).status == 200


async def test_storage_that_is_down(origin: Origin, clock: list[int]) -> None:
    asked = ("/vod/video.ism", ".m3u8")
    before = await origin.body(*asked)
    origin.storage.down()
    clock[0] += 3000 * SECOND
    assert await origin.body(*asked) == before
    clock[0] += 1000 * SECOND
    assert (await origin.plan(*asked)).status == 502
    origin.storage.up()
    # The first file that failed was the answer: looks at the others, which began while it was
    # down, may go on, and are shared by those who ask meanwhile.
    for _ in range(100):
        plan = await origin.plan(*asked)
        if plan.status != 502:
            break
        await asyncio.sleep(0.02)
    assert (plan.status, body(plan)) == (200, before)


async def test_nobody_waits_for_ever(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servicer, "_REMOTE_SECONDS", 0.05)
    with origin.storage.fault("/vod/clip.mp4", Fault(hangs=True, times=1)):
        plan = await origin.plan("/vod/video.ism", ".m3u8")
        assert origin_pb2.Result.Name(plan.result) == "FMP4_STORAGE_TIMEOUT"
        assert (plan.status, plan.format, plan.kind) == (504, "hls", "hls.master")
    # What had been begun goes on, and is what the next one waits for.
    monkeypatch.setattr(servicer, "_REMOTE_SECONDS", 60)
    assert (await origin.plan("/vod/video.ism", ".m3u8")).status == 200


async def test_manifests_made_for_each_request(origin: Origin, clock: list[int]) -> None:
    said = [SMIL.format(src="clip.mp4", more="").encode()]
    fault = Fault(body=lambda _: said[0], headers=(("Cache-Control", "no-store"),))
    with origin.storage.fault("/vod/made.ism", fault):
        plan = await origin.plan("/vod/made.ism", ".m3u8")
        assert (plan.status, plan.ttl_ms) == (200, 1)
        assert b"AUDIO" in body(plan)
        segment = await origin.plan("/vod/made.ism", "dash/made-video=200000-0.dash")
        assert segment.ttl_ms == 1000
        said[0] = re.sub(rb"<audio[^>]*>", b"", said[0])
        assert b"AUDIO" not in body(await origin.plan("/vod/made.ism", ".m3u8"))
        # Media files have not been asked for again.
        assert len(origin.storage.asked("/vod/clip.mp4")) <= 2


async def test_the_index_is_made_once(origin: Origin, clock: list[int]) -> None:
    for virtual in (".m3u8", ".mpd", "Manifest"):
        await origin.plan("/vod/video.ism", virtual)
    counts = [len(origin.storage.asked(f"/vod/{name}")) for name in ("video.ism", "text.vtt")]
    assert counts == [1, 1]
    ranges = [asked.range for asked in origin.storage.asked("/vod/clip.mp4")]
    assert len(ranges) == len(set(ranges)) <= 2
    clock[0] += 11 * SECOND
    origin.storage.forget()
    for virtual in (".m3u8", ".mpd"):
        assert (await origin.plan("/vod/video.ism", virtual)).status == 200
    assert sorted(asked.status for asked in origin.storage.asked()) == [304, 304, 304]


async def test_secrets_are_in_no_answer_and_no_log(origin: Origin) -> None:
    secret, token = "a/very+secret=key", "the-token-of-today"
    origin.given |= {
        "s3_access_key": ["AKID"],
        "s3_secret_key": [secret],
        "s3_security_token": [token],
        "s3_region": ["eu-1"],
    }
    with capture_logs() as lines:
        for headers in (None, ["on"], ["off"]):
            if headers is not None:
                origin.given["s3_use_headers"] = headers
            replies = [
                await origin.reply("/vod/video.ism", "hls/video-video=200000-1.m4s", read_ahead=2),
                await origin.reply("/vod/none.ism", ".m3u8"),
            ]
            (source,) = [one for one in replies[0].plan.sources if one.path.endswith(".mp4")]
            signed = source.remote.url if headers != ["on"] else str(source.remote.headers)
            assert "AKID" in signed
            assert source.remote.expires_ms
            assert all(secret not in str(reply) for reply in replies)
            assert token not in str(replies[1])
        with origin.storage.fault("*", Fault(status=500)):
            assert (await origin.plan("/vod/other.ism", ".m3u8")).status == 502
        origin.given["s3_region"] = [""]
        assert (await origin.plan("/vod/video.ism", ".m3u8")).status == 502
    said = str(lines)
    assert "other.ism" in said
    assert secret not in said
    assert token not in said
    assert "Signature" not in said


@pytest.mark.parametrize(("headers", "most"), [("off", 1_800_000), ("on", 300_000)])
async def test_plans_end_long_before_their_signatures(
    origin: Origin, monkeypatch: pytest.MonkeyPatch, headers: str, most: int
) -> None:
    origin.given |= {
        "origin_remote_valid": ["86400"],
        "s3_access_key": ["AKID"],
        "s3_secret_key": ["secret"],
        "s3_region": ["eu-1"],
        "s3_use_headers": [headers],
    }
    now = [time.time_ns()]
    for module in (remote, service_remote, signing):
        monkeypatch.setattr(module, "now_ns", lambda: now[0])
    segment = ("/vod/video.ism", "dash/video-video=200000-0.dash")
    first = await origin.plan(*segment)
    assert most - 2000 <= first.ttl_ms <= most
    until = [first.sources[-1].remote.expires_ms]
    for _ in range(8):
        now[0] += most // 4 * 1_000_000
        monkeypatch.setattr(service_remote, "_TABLE_NS", 0)
        plan = await origin.plan(*segment)
        expires = plan.sources[-1].remote.expires_ms
        assert now[0] // 1_000_000 + 2 * plan.ttl_ms <= expires
        assert plan.ttl_ms >= most // 4
        until.append(expires)
    assert len(set(until)) == 3  # a new one after each half of what it lasts


async def test_keys_of_one_location_are_not_those_of_another(origin: Origin) -> None:
    await origin.plan("/vod/video.ism", ".m3u8")
    with origin.storage.fault("*", Fault(status=403)):
        assert (await origin.plan("/vod/video.ism", ".m3u8")).status == 200
        origin.given |= {"s3_access_key": ["A"], "s3_secret_key": ["S"], "s3_region": ["r"]}
        assert (await origin.plan("/vod/video.ism", ".m3u8")).status == 403


def test_the_sizes_of_the_test_files() -> None:
    """Or the ranges above would be others."""
    assert 256 << 10 < generated("bframes_closed.mp4").stat().st_size < 512 << 10
