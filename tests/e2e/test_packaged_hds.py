"""usp_handle_f4f: packaged HDS through nginx, by the example of openresty.conf."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from lxml import etree

from tests.support.f4f import package
from tests.support.f4m import NS, read_manifest
from tests.support.f4m_download import download
from tests.support.flv import read_fragment
from tests.support.http import Client
from tests.support.media import ROOT, place
from tests.support.stack import Stack, free_port, origin

OBJECT = "hds = origin.location [[ usp_handle_f4f on; ]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Packaged:
    """``fragments``: as they lie in ``/hds/videoSeg1.f4f``, by number."""

    stack: Stack
    fragments: dict[int, bytes]


def example(text: str) -> str:
    """openresty.conf with its example of packaged HDS in force."""
    begin = text.index(f"# {OBJECT}")
    end = text.index("\n\n", begin)
    block = text[begin:end].replace(f"# {OBJECT}", "", 1)
    block = re.sub(r"^(\s*)# ?", r"\1", block, flags=re.MULTILINE)
    text = text[:begin] + block + text[end:]
    vod = "vod = origin.location [[ usp_handle_ism on; ]]"
    assert text.count(vod) == 1
    return text.replace(vod, f"{vod}\n{OBJECT}")


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Packaged]:
    """An instance with the example, over a packaged copy of what it serves itself."""
    folder = tmp_path_factory.mktemp("f4f")
    (folder / "openresty.conf").write_text(example((ROOT / "openresty.conf").read_text()))
    (folder / "lua").symlink_to(ROOT / "lua")
    media = folder / "media"
    place(media, "bframes_closed.mp4")
    port = free_port()
    run = folder / "run"
    done = origin(
        *("start", "--run", run, "--port", str(port), "--media", media, "--workers", "1"),
        *("--conf", folder / "openresty.conf"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    stack = Stack(base=f"http://127.0.0.1:{port}", run=run, media=media)
    try:
        yield Packaged(stack=stack, fragments=_package(stack, media / "hds"))
    finally:
        stack.stop()


def _package(stack: Stack, folder: Path) -> dict[int, bytes]:
    client = stack.client()
    document = client.get("/bframes_closed.mp4/.f4m").body
    (shown,) = read_manifest(document).media
    mdats = {
        number: (start, client.get(f"/bframes_closed.mp4/{url}").body)
        for number, (start, url) in enumerate(
            zip(shown.bootstrap.starts, shown.fragments(), strict=False), start=1
        )
    }
    client.close()
    tree = etree.fromstring(document)
    media = tree.find("f:media", NS)
    assert media is not None
    media.set("url", "video")
    bootstrap = b64decode(tree.findtext("f:bootstrapInfo", namespaces=NS) or "")
    fragments = package(folder, "video", mdats, bootstrap)
    (folder / "video.f4m").write_bytes(etree.tostring(tree))
    return fragments


@pytest.fixture
def there(packaged: Packaged) -> Iterator[Client]:
    client = packaged.stack.client()
    yield client
    client.close()


def test_fragments_are_the_bytes_of_the_file(packaged: Packaged, there: Client) -> None:
    assert len(packaged.fragments) == 3
    for number, fragment in packaged.fragments.items():
        answer = there.get(f"/hds/videoSeg1-Frag{number}")
        assert answer.headers["content-type"] == "video/f4f"
        assert answer.body == fragment
        again = there.request(
            f"/hds/videoSeg1-Frag{number}", headers={"If-None-Match": answer.headers["etag"]}
        )
        assert again.status == 304
        part = there.request(f"/hds/videoSeg1-Frag{number}", headers={"Range": "bytes=4-99"})
        assert (part.status, part.body) == (206, fragment[4:100])
        mdat = fragment[fragment.index(b"mdat") - 4 :]
        assert read_fragment(mdat)


def test_a_player_gets_the_same_from_the_package(packaged: Packaged, tmp_path: Path) -> None:
    base = packaged.stack.base
    download(f"{base}/hds/video.f4m", tmp_path / "packaged.flv")
    download(f"{base}/bframes_closed.mp4/.f4m", tmp_path / "made.flv")
    found = (tmp_path / "packaged.flv").read_bytes()
    assert found == (tmp_path / "made.flv").read_bytes()
    assert len(found) > 300_000


def test_the_manifest_is_a_plain_file_and_the_rest_is_not(there: Client) -> None:
    assert there.get("/hds/video.f4m").headers["content-type"] == "application/f4m+xml"
    for name in ("videoSeg1.f4f", "videoSeg1.f4x"):
        assert there.request(f"/hds/{name}").status == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/hds/videoSeg1-Frag4", 404),
        ("/hds/videoSeg2-Frag1", 404),
        ("/hds/otherSeg1-Frag1", 404),
        ("/hds/videoSeg1-Frag0", 404),
        ("/hds/../../etcSeg1-Frag1", 400),
        ("/hds/%2e%2e/%2e%2e/etcSeg1-Frag1", 400),
        ("/hds/a%00Seg1-Frag1", 400),
    ],
)
def test_what_is_not_there(there: Client, path: str, status: int) -> None:
    answer = there.request(path)
    assert answer.status == status
    assert str(ROOT).encode() not in answer.body


def test_a_link_out_of_the_document_root(packaged: Packaged, there: Client) -> None:
    outside = packaged.stack.run.parent / "outside"
    outside.mkdir(exist_ok=True)
    for extension in ("f4f", "f4x"):
        inside = packaged.stack.media / "hds" / f"videoSeg1.{extension}"
        (outside / inside.name).write_bytes(inside.read_bytes())
        (packaged.stack.media / f"linkSeg1.{extension}").symlink_to(outside / inside.name)
    assert there.request("/linkSeg1-Frag1").status == 403


def test_a_replaced_index_is_read_again(packaged: Packaged, there: Client) -> None:
    for extension in ("f4f", "f4x"):
        source = packaged.stack.media / "hds" / f"videoSeg1.{extension}"
        (packaged.stack.media / f"laterSeg1.{extension}").write_bytes(source.read_bytes())
    assert there.get("/laterSeg1-Frag1").body == packaged.fragments[1]
    package(packaged.stack.media, "later", {1: (0, b"\0\0\0\x0cmdatlate")}, b"\0\0\0\x09abst\0")
    assert there.get("/laterSeg1-Frag1").body.endswith(b"mdatlate")
    assert there.request("/laterSeg1-Frag2").status == 404


def test_other_content_is_served_as_before(there: Client) -> None:
    assert there.get("/bframes_closed.mp4/.mpd")
    assert there.request("/bframes_closed.mp4/videoSeg1-Frag1").status == 404
