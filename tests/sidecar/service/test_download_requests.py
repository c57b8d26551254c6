"""Downloads over the contract: stored files, files that refer to others, what is refused."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sidecar.boxes.write import box
from sidecar.rpc import origin_pb2
from sidecar.service.presentations import PresentationCache
from sidecar.service.servicer import OriginServicer
from tests.support.frames import decode
from tests.support.isobmff import boxes
from tests.support.license import licensed
from tests.support.media import generated
from tests.support.references import referring


@pytest.fixture
def root(tmp_path: Path) -> Path:
    media = tmp_path / "media"
    (media / "deep").mkdir(parents=True)
    shutil.copyfile(generated("bframes_closed.mp4"), media / "clip.mp4")
    data = (media / "clip.mp4").read_bytes()
    (media / "index.mp4").write_bytes(referring(data, b"clip.mp4\0"))
    (media / "deep" / "up.mp4").write_bytes(referring(data, b"../clip.mp4\0"))
    (media / "video.ism").write_text(
        '<smil xmlns="http://www.w3.org/2001/SMIL20/Language"><body><switch>'
        '<audio src="index.mp4" systemBitrate="64000"/>'
        '<video src="index.mp4" systemBitrate="200000"/></switch></body></smil>'
    )
    return media


@pytest.fixture
def servicer() -> Iterator[OriginServicer]:
    with ThreadPoolExecutor(2) as executor:
        yield OriginServicer(PresentationCache(64 << 20, executor), licensed())


async def ask(
    servicer: OriginServicer, root: Path, path: str, virtual: str = "", **more: Any
) -> Any:
    request = origin_pb2.PlanRequest(
        document_root=str(root), path=path, virtual_path=virtual, method="GET", **more
    )
    return (await servicer.Plan(request, None)).plan


def body(plan: Any) -> bytes:
    pieces = []
    for part in plan.parts:
        if part.WhichOneof("kind") == "inline":
            pieces.append(part.inline)
            continue
        ranges = part.file
        which = list(ranges.sources) or [ranges.source] * len(ranges.offset)
        for source, offset, length in zip(which, ranges.offset, ranges.length, strict=True):
            with open(plan.sources[source].path, "rb") as file:
                pieces.append(os.pread(file.fileno(), length, offset))
    whole = b"".join(pieces)
    assert len(whole) == plan.length
    return whole


async def test_a_stored_file_is_sent_with_its_moov_in_front(
    servicer: OriginServicer, root: Path, tmp_path: Path
) -> None:
    plan = await ask(servicer, root, "/clip.mp4")
    assert (plan.status, plan.content_type) == (200, "video/mp4")
    status = (root / "clip.mp4").stat()
    assert plan.length == status.st_size
    assert plan.last_modified == status.st_mtime_ns // 10**9
    assert [source.path for source in plan.sources][:1] == [str(root / "clip.mp4")]
    moved = body(plan)
    assert [name for name, _, _ in boxes(moved)][:2] == ["ftyp", "moov"]
    (tmp_path / "moved.mp4").write_bytes(moved)
    whole = decode(str(root / "clip.mp4"), "0:v:0", "0:a:0")
    assert decode(str(tmp_path / "moved.mp4"), "0:v:0", "0:a:0") == whole


async def test_options_of_other_formats_change_nothing(
    servicer: OriginServicer, root: Path
) -> None:
    plain = await ask(servicer, root, "/clip.mp4")
    assert await ask(servicer, root, "/clip.mp4", args="mpd_min_buffer_time=3") == plain
    assert (await ask(servicer, root, "/clip.mp4", args="start=4")).etag != plain.etag


@pytest.mark.parametrize("content", [b"", b"no media", box(b"mdat", bytes(100))])
async def test_whatever_is_called_mp4_is_sent(
    servicer: OriginServicer, root: Path, content: bytes
) -> None:
    (root / "odd.mp4").write_bytes(content)
    plan = await ask(servicer, root, "/odd.mp4")
    assert (plan.status, body(plan)) == (200, content)
    assert (await ask(servicer, root, "/odd.mp4", args="start=1")).status == 415


@pytest.mark.parametrize("path", ["/index.mp4", "/deep/up.mp4"])
@pytest.mark.parametrize("virtual", ["", "x.mp4"])
async def test_a_file_that_refers_to_another_is_made_whole(
    servicer: OriginServicer, root: Path, tmp_path: Path, path: str, virtual: str
) -> None:
    assert (root / path[1:]).stat().st_size < 20_000
    plan = await ask(servicer, root, path, virtual)
    assert plan.status == 200
    assert {source.path for source in plan.sources} >= {
        str(root / path[1:]),
        str(root / "clip.mp4"),
    }
    (tmp_path / "whole.mp4").write_bytes(body(plan))
    whole = decode(str(root / "clip.mp4"), "0:v:0", "0:a:0")
    assert decode(str(tmp_path / "whole.mp4"), "0:v:0", "0:a:0") == whole


async def test_manifests_and_segments_over_references(servicer: OriginServicer, root: Path) -> None:
    segments = []
    for path in ("/clip.mp4", "/index.mp4", "/video.ism"):
        mpd = body(await ask(servicer, root, path, ".mpd")).decode()
        (video,) = re.findall(r'<Representation id="(video[^"]*)"', mpd)
        segments.append(body(await ask(servicer, root, path, f"dash/x-{video}-0.dash")))
    assert segments[0] == segments[1] == segments[2]


async def test_a_replaced_data_file_is_seen(servicer: OriginServicer, root: Path) -> None:
    before = await ask(servicer, root, "/index.mp4")
    data = (root / "clip.mp4").read_bytes()
    (root / "new.mp4").write_bytes(data + box(b"free", bytes(8)))
    (root / "new.mp4").rename(root / "clip.mp4")
    after = await ask(servicer, root, "/index.mp4")
    assert after.status == 200
    assert after.etag != before.etag
    (root / "clip.mp4").write_bytes(data[:1000])
    assert (await ask(servicer, root, "/index.mp4")).status == 415
    (root / "clip.mp4").write_bytes(data)
    assert (await ask(servicer, root, "/index.mp4")).status == 200
    (root / "clip.mp4").unlink()
    assert (await ask(servicer, root, "/index.mp4")).status == 404
    (root / "clip.mp4").write_bytes(data)
    assert (await ask(servicer, root, "/index.mp4")).status == 200


@pytest.mark.parametrize(
    ("location", "status", "words"),
    [
        (b"../outside.mp4\0", 403, "outside the document root"),
        (b"nowhere.mp4\0", 404, "nowhere.mp4"),
        (b"http://example.com/clip.mp4\0", 415, "another server"),
        (b"\0", 415, "not named by a URL"),
        (b"clip%2Emp4\0", 200, ""),
        (b"deep\0", 404, ""),
    ],
)
async def test_where_references_may_lead(
    servicer: OriginServicer, root: Path, location: bytes, status: int, words: str
) -> None:
    data = (root / "clip.mp4").read_bytes()
    (root.parent / "outside.mp4").write_bytes(data)
    (root / "other.mp4").write_bytes(referring(data, location))
    for virtual in ("", "x.mp4", ".mpd"):
        plan = await ask(servicer, root, "/other.mp4", virtual)
        assert plan.status == status
        if words:
            sentence = body(plan).decode()
            assert words in sentence
            assert str(root) not in sentence


@pytest.mark.parametrize(
    ("path", "args", "status"),
    [
        ("/none.mp4", "", 404),
        ("/video.ism", "", 404),
        ("/../clip.mp4", "", 403),
        ("/clip.mp4", "start=x", 400),
        ("/clip.mp4", "start=5&end=4", 400),
        ("/clip.mp4", "start=50", 400),
        ("/clip.mp4", "filter=type%3D", 400),
        ("/clip.mp4", "filter=false", 404),
    ],
)
async def test_what_is_refused(
    servicer: OriginServicer, root: Path, path: str, args: str, status: int
) -> None:
    assert (await ask(servicer, root, path, args=args)).status == status


async def test_clips_and_filters_of_a_file(
    servicer: OriginServicer, root: Path, tmp_path: Path
) -> None:
    args = "filter=type%3D%3D%22video%22&start=4&end=6"
    plan = await ask(servicer, root, "/clip.mp4", args=args)
    (tmp_path / "part.mp4").write_bytes(body(plan))
    (part,) = decode(str(tmp_path / "part.mp4"), "0")
    (whole,) = decode(str(root / "clip.mp4"), "0:v:0")
    assert [frame.hash for frame in part] == [f.hash for f in whole if 4 <= f.time < 6]
