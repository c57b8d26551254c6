"""``usp_prefer_static``: files beside a server manifest instead of what would be made."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sidecar.rpc import origin_pb2
from sidecar.service.licensing import LONGEST_MS
from sidecar.service.presentations import PresentationCache
from sidecar.service.servicer import OriginServicer
from sidecar.service.static import LOOK_AGAIN_MS, static_answer
from tests.support.license import licensed
from tests.support.media import generated

MANIFEST = """<?xml version="1.0" encoding="utf-8"?>
<smil xmlns="http://www.w3.org/2001/SMIL20/Language">
<head>{meta}</head>
<body><switch><video src="clip.mp4"/><audio src="clip.mp4"/></switch></body></smil>"""
META = '<meta name="clientManifestRelativePath" content="{}"/>'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A document root with vod/video.ism over vod/clip.mp4."""
    folder = tmp_path / "root" / "vod"
    folder.mkdir(parents=True)
    shutil.copyfile(generated("bframes_closed.mp4"), folder / "clip.mp4")
    (folder / "video.ism").write_text(MANIFEST.format(meta=META.format("video.ismc")))
    return tmp_path / "root"


@pytest.fixture
def servicer() -> Iterator[OriginServicer]:
    with ThreadPoolExecutor(2) as executor:
        yield OriginServicer(PresentationCache(64 << 20, executor), licensed())


async def ask(
    servicer: OriginServicer, root: Path, virtual_path: str, *, static: str = "on", **fields: Any
) -> Any:
    directives = [origin_pb2.Directive(name="usp_prefer_static", args=[static])]
    request = origin_pb2.PlanRequest(
        document_root=str(root),
        path="/vod/video.ism",
        virtual_path=virtual_path,
        method="GET",
        directives=directives,
        **fields,
    )
    return await servicer.Plan(request, None)


def put(root: Path, name: str, data: bytes = b"as it is") -> Path:
    file = root / "vod" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    os.utime(file, (1_600_000_000, 1_600_000_000))
    return file


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("video.m3u8", "application/vnd.apple.mpegurl"),
        ("dash/video-video=1000-0.dash", "video/mp4"),
        ("video-1.ts", "video/mp2t"),
        ("poster.JPG", "image/jpeg"),
        ("notes", "application/octet-stream"),
    ],
)
async def test_a_file_that_is_there_is_served(
    servicer: OriginServicer, root: Path, name: str, content_type: str
) -> None:
    file = put(root, name)
    plan = (await ask(servicer, root, name)).plan
    assert plan.status == 200
    assert plan.content_type == content_type
    assert plan.length == 8
    assert plan.last_modified == 1_600_000_000
    assert plan.etag.startswith('"')
    (part,) = plan.parts
    assert (list(part.file.offset), list(part.file.length)) == ([0], [8])
    assert [source.path for source in plan.sources] == [os.path.realpath(file)]
    assert plan.ttl_ms == LONGEST_MS


async def test_an_empty_file_has_an_empty_body(servicer: OriginServicer, root: Path) -> None:
    put(root, "empty.vtt", b"")
    plan = (await ask(servicer, root, "empty.vtt")).plan
    assert (plan.status, plan.length) == (200, 0)


async def test_everything_else_is_made(servicer: OriginServicer, root: Path) -> None:
    plan = (await ask(servicer, root, ".mpd")).plan
    assert plan.content_type == "application/dash+xml" and plan.parts[0].inline
    # A file may come to stand there.
    assert plan.ttl_ms == LOOK_AGAIN_MS
    assert (await ask(servicer, root, "nothing.txt")).plan.status == 404


async def test_without_the_directive_files_do_not_matter(
    servicer: OriginServicer, root: Path
) -> None:
    put(root, "video.mpd")
    plan = (await ask(servicer, root, "video.mpd", static="off")).plan
    assert plan.parts[0].inline and plan.ttl_ms == LONGEST_MS


async def test_plans_read_ahead_leave_out_files_that_are_there(
    servicer: OriginServicer, root: Path
) -> None:
    first = "QualityLevels(1000)/Fragments(video=0)"
    (root / "vod" / "video.ism").write_text(
        MANIFEST.format(meta="").replace('"clip.mp4"/>', '"clip.mp4" systemBitrate="1000"/>', 1)
    )
    put(root, "QualityLevels(1000)/Fragments(video=40000000)")
    reply = await ask(servicer, root, first, read_ahead=3)
    assert reply.plan.status == 200
    assert [ahead.virtual_path for ahead in reply.ahead] == [
        "QualityLevels(1000)/Fragments(video=20000000)",
        "QualityLevels(1000)/Fragments(video=60000000)",
    ]
    assert {ahead.plan.ttl_ms for ahead in reply.ahead} == {LOOK_AGAIN_MS}


@pytest.mark.parametrize("asked", ["Manifest", "manifest"])
async def test_the_client_manifest_has_a_name_of_its_own(
    servicer: OriginServicer, root: Path, asked: str
) -> None:
    made = (await ask(servicer, root, asked)).plan
    assert made.parts[0].inline
    file = put(root, "video.ismc", b"<SmoothStreamingMedia/>")
    plan = (await ask(servicer, root, asked)).plan
    assert plan.content_type == "application/vnd.ms-sstr+xml"
    assert plan.length == 23
    # The server manifest says which file it is: both count.
    assert [source.path for source in plan.sources] == [
        os.path.realpath(root / "vod" / "video.ism"),
        os.path.realpath(file),
    ]
    assert plan.parts[0].file.source == 1


@pytest.mark.parametrize("name", ["../secret.txt", "/etc/hostname", "video.ism", "", "a/../b.txt"])
async def test_client_manifests_elsewhere_are_not_served(
    servicer: OriginServicer, root: Path, name: str
) -> None:
    (root / "secret.txt").write_text("secret")
    put(root, "b.txt")
    (root / "vod" / "video.ism").write_text(MANIFEST.format(meta=META.format(name)))
    assert (await ask(servicer, root, "Manifest")).plan.parts[0].inline


@pytest.mark.parametrize(
    "name",
    [
        "video.ism",
        "other.isml",
        "live.db3",
        "live.db3-wal",
        "live.db3-stamp",
        "source.ismv",
        "source.ISMA",
        "source.cmfv",
        ".hidden",
        ".git/config",
        "folder/.hidden.mpd",
    ],
)
def test_what_no_location_serves_is_not_there(root: Path, name: str) -> None:
    if not (root / "vod" / name).exists():
        put(root, name)
    assert static_answer(str(root), "/vod/video.ism", name) is None


@pytest.mark.parametrize(
    "name",
    ["../outside.txt", "a/../../outside.txt", "./poster.jpg", "dash//x", "/poster.jpg", "dash",
     "poster.jpg/", "a\0b", "http://localhost/x", "no/such/file", "poster.jpg/x"],
)  # fmt: skip
def test_names_that_lead_elsewhere(root: Path, name: str) -> None:
    (root / "outside.txt").write_text("outside of vod")
    put(root, "poster.jpg")
    put(root, "dash/x")
    assert static_answer(str(root), "/vod/video.ism", name) is None


def test_links_count_by_where_they_lead(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    folder = root / "vod"
    (folder / "out.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "up").symlink_to(tmp_path)
    (folder / "manifest.txt").symlink_to(folder / "video.ism")
    (folder / ".kept").write_text("hidden")
    (folder / "shown.txt").symlink_to(folder / ".kept")
    (folder / "fine.txt").symlink_to(put(root, "poster.jpg"))
    for name in ("out.txt", "up/secret.txt", "manifest.txt", "shown.txt"):
        assert static_answer(str(root), "/vod/video.ism", name) is None, name
    assert static_answer(str(root), "/vod/video.ism", "fine.txt") is not None


def test_a_fifo_is_not_opened(root: Path) -> None:
    os.mkfifo(root / "vod" / "pipe.ts")
    assert static_answer(str(root), "/vod/video.ism", "pipe.ts") is None


async def test_a_damaged_server_manifest_is_reported_as_ever(
    servicer: OriginServicer, root: Path
) -> None:
    (root / "vod" / "video.ism").write_text("<smil")
    put(root, "video.mpd")
    assert (await ask(servicer, root, "Manifest")).plan.status == 415
    assert (await ask(servicer, root, "video.mpd")).plan.status == 200
