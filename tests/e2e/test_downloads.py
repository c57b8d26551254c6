"""Downloads as clients fetch them: whole, in ranges, cut, from several files at once."""

from __future__ import annotations

import random
import shutil
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.support.frames import decode
from tests.support.http import Client
from tests.support.isobmff import boxes
from tests.support.media import generated
from tests.support.stack import Stack

TARGETS = [
    "/bframes_closed.mp4",
    "/bframes_open.mp4",
    "/two_audio.mp4?start=2&end=6",
    "/ladder.ism/any%20name.mp4",
    "/ladder.ism/.ismv",
    "/ladder.ism/sound.m4a",
    "/frag_piff.ism/x.mp4",
    "/two_audio.ism/x.mp4?filter=systemLanguage%3D%3D%22ger%22",
]


@pytest.mark.parametrize("target", TARGETS)
def test_every_range_is_a_part_of_the_whole(client: Client, target: str) -> None:
    whole = client.get(target)
    size = len(whole.body)
    assert whole.headers["content-length"] == str(size)
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["content-type"] == ("audio/mp4" if ".m4a" in target else "video/mp4")
    names = [name for name, _, _ in boxes(whole.body)]
    assert names.index("moov") < names.index("mdat")
    chance = random.Random(target)
    for _ in range(12):
        first = chance.randrange(size)
        last = min(size - 1, first + chance.choice([0, 7, 5000, 200_000]))
        part = client.request(target, headers={"Range": f"bytes={first}-{last}"})
        assert part.status == 206
        assert part.headers["content-range"] == f"bytes {first}-{last}/{size}"
        assert part.headers["etag"] == whole.headers["etag"]
        assert part.body == whole.body[first : last + 1]
    tail = client.request(target, headers={"Range": "bytes=-1000"})
    assert tail.body == whole.body[-1000:]
    beyond = client.request(target, headers={"Range": f"bytes={size}-"})
    assert (beyond.status, beyond.headers["content-range"]) == (416, f"bytes */{size}")


def test_validators_and_methods(client: Client, stack: Stack) -> None:
    target = "/bframes_closed.mp4"
    whole = client.get(target)
    changed = (stack.media / target[1:]).stat().st_mtime
    assert whole.headers["last-modified"] == formatdate(int(changed), usegmt=True)
    head = client.request(target, method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(whole.body))
    etag = whole.headers["etag"]
    assert client.request(target, headers={"If-None-Match": etag}).status == 304
    kept = {"Range": "bytes=0-9", "If-Range": etag}
    assert client.request(target, headers=kept).status == 206
    other = client.get(f"{target}?start=4").headers["etag"]
    assert other != etag
    assert client.request(target, headers=kept | {"If-Range": other}).status == 200
    assert client.request(target, method="POST", body=b"x").status == 405


def test_a_stored_file_keeps_its_size_and_its_media(client: Client, stack: Stack) -> None:
    stored = (stack.media / "two_audio.mp4").read_bytes()
    served = client.get("/two_audio.mp4").body
    assert [name for name, _, _ in boxes(stored)][-1] == "moov"
    assert [name for name, _, _ in boxes(served)][1] == "moov"
    assert len(served) == len(stored)
    in_order = (stack.media / "bframes_open.mp4").read_bytes()
    assert client.get("/bframes_open.mp4").body == in_order


def test_ffmpeg_reads_a_part_over_http(stack: Stack) -> None:
    source = str(generated("bframes_closed.mp4"))
    pictures = decode(source, "0:v:0")[0]
    for query, first, last in (("?start=4&end=6", 4, 6), ("?vbegin=2&start=2.5", 4, 10)):
        (served,) = decode(f"{stack.base}/bframes_closed.mp4{query}", "0:v:0")
        assert [(f.time, f.hash) for f in served] == [
            (f.time - first, f.hash) for f in pictures if first <= f.time < last
        ]


def test_the_best_video_of_a_ladder_with_its_sound(stack: Stack) -> None:
    served = decode(f"{stack.base}/ladder.ism/download.mp4", "0:v:0", "0:a:0")
    assert served[0] == decode(str(generated("ladder_3.mp4")), "0:v:0")[0]
    assert served[1] == decode(str(generated("ladder_audio.mp4")), "0:a:0")[0]
    (lower,) = decode(f"{stack.base}/ladder.ism/download.mp4?max_bitrate=200000", "0:v:0")
    assert lower == decode(str(generated("ladder_2.mp4")), "0:v:0")[0]


def test_names_and_folders_that_are_no_downloads(client: Client, stack: Stack) -> None:
    for name in ("whatever.mp4", ".hidden.mp4"):
        (stack.media / name).write_bytes(b"not a film")
    hidden = stack.media / ".private"
    hidden.mkdir(exist_ok=True)
    shutil.copyfile(generated("bframes_closed.mp4"), hidden / "film.mp4")
    assert client.get("/whatever.mp4").body == b"not a film"
    for target, status in (
        ("/.hidden.mp4", 404),
        ("/.private/film.mp4", 404),
        ("/none.mp4", 404),
        ("/frag_piff.ismv", 403),
        ("/ladder.ism", 403),
        ("/bframes_closed.mp4?start=5&end=1", 400),
        ("/bframes_closed.mp4?start=1000", 400),
        ("/bframes_closed.mp4/", 404),
    ):
        assert client.request(target).status == status, target


def test_a_replaced_file_is_another_entity(client: Client, stack: Stack) -> None:
    path: Path = stack.media / "changing.mp4"
    shutil.copyfile(generated("ladder_1.mp4"), path)
    before = client.get("/changing.mp4")
    shutil.copyfile(generated("ladder_2.mp4"), path.with_suffix(".new"))
    path.with_suffix(".new").rename(path)
    after = client.get("/changing.mp4")
    assert before.headers["etag"] != after.headers["etag"]
    assert len(after.body) == generated("ladder_2.mp4").stat().st_size
