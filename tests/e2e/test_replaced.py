"""Content replaced under the origin is noticed at the next request, and never mixed."""

from __future__ import annotations

import itertools
import os
import threading
import time
from pathlib import Path

from tests.support.hls import read_master, read_media
from tests.support.http import Client
from tests.support.media import generated, place
from tests.support.mpd import read
from tests.support.stack import Stack

FIRST, SECOND = "bframes_closed.mp4", "bframes_open.mp4"


def put(directory: Path, file: str, name: str, *, in_place: bool = False) -> None:
    """Makes ``name`` hold what ``file`` does, as another file or in the same one."""
    data = generated(file).read_bytes()
    if in_place:
        (directory / name).write_bytes(data)
        return
    new = directory / f".{name}.new"
    new.write_bytes(data)
    new.rename(directory / name)


def everything(client: Client, stack: Stack, path: str) -> dict[str, tuple[str, bytes]]:
    """(entity tag, body) of all that a DASH and an HLS client would fetch of ``path``, by URL."""
    found = {}

    def get(url: str) -> bytes:
        answer = client.get(url)
        found[url] = answer.headers["etag"], answer.body
        return answer.body

    url = f"{stack.base}{path}/.mpd"
    for representation in read(get(url), url).representations:
        for listed in (representation.init, *(s.url for s in representation.segments)):
            get(listed)
    url = f"{stack.base}{path}/.m3u8?hls_fmp4"
    for playlist_url in read_master(get(url).decode(), url).playlists:
        playlist = read_media(get(playlist_url).decode(), playlist_url)
        for listed in (playlist.map, *(s.url for s in playlist.segments)):
            get(listed)
    return found


def bodies(found: dict[str, tuple[str, bytes]]) -> dict[str, bytes]:
    """By URL below the presentation."""
    return {url.partition(".mp4/")[2]: body for url, (_, body) in found.items()}


def test_another_file_of_the_same_name(client: Client, stack: Stack) -> None:
    place(stack.media, FIRST, name="kept.mp4")
    place(stack.media, SECOND, name="kept_second.mp4")
    for in_place in (False, True):
        put(stack.media, FIRST, "kept.mp4")
        before = everything(client, stack, "/kept.mp4")
        put(stack.media, SECOND, "kept.mp4", in_place=in_place)
        # First a segment: it must not need a manifest request to be noticed.
        segment = next(url for url in before if "-video" in url and url.endswith("-1.m4s"))
        answer = client.request(segment)
        assert answer.status == 404 or answer.body != before[segment][1]
        after = everything(client, stack, "/kept.mp4")
        both = before.keys() & after.keys()
        assert both
        for url in both:
            same = before[url][1] == after[url][1]
            assert (before[url][0] == after[url][0]) == same, f"entity tag of {url}"
        assert bodies(after) == {
            name.replace("kept_second", "kept"): body.replace(b"kept_second", b"kept")
            for name, body in bodies(everything(client, stack, "/kept_second.mp4")).items()
        }


def test_the_modification_time_alone(client: Client, stack: Stack) -> None:
    place(stack.media, FIRST, name="touched.mp4")
    path = stack.media / "touched.mp4"
    os.utime(path, (1_000_000_000, 1_000_000_000))
    first = client.get("/touched.mp4/.m3u8")
    os.utime(path, (1_100_000_000, 1_100_000_000))
    second = client.get("/touched.mp4/.m3u8")
    assert first.headers["last-modified"] == "Sun, 09 Sep 2001 01:46:40 GMT"
    assert second.headers["last-modified"] == "Tue, 09 Nov 2004 11:33:20 GMT"
    assert first.body == second.body


def test_a_server_manifest(client: Client, stack: Stack) -> None:
    path = stack.media / "swapped.ism"
    for names in (("ladder_1.mp4", "ladder_2.mp4"), ("ladder_3.mp4", "ladder_audio.mp4")):
        body = "".join(
            f"<{kind} src='{name}' systemBitrate='{bitrate}000'/>"
            for bitrate, name in enumerate(names, 1)
            for kind in ("audio" if "audio" in name else "video",)
        )
        path.write_text(
            '<smil xmlns="http://www.w3.org/2001/SMIL20/Language"><head/><body><switch>'
            f"{body}</switch></body></smil>"
        )
        url = f"{stack.base}/swapped.ism/.mpd"
        heights = {
            r.attributes.get("height") for r in read(client.get(url).body, url).representations
        }
        assert heights == ({"90", "136"} if "ladder_1.mp4" in names else {"180", None})


def test_a_file_that_is_gone(client: Client, stack: Stack) -> None:
    place(stack.media, FIRST, name="gone.mp4")
    found = everything(client, stack, "/gone.mp4")
    (stack.media / "gone.mp4").unlink()
    for url in found:
        assert client.request(url).status == 404, url
    put(stack.media, FIRST, "gone.mp4")
    again = everything(client, stack, "/gone.mp4")
    assert {url: body for url, (_, body) in again.items()} == {
        url: body for url, (_, body) in found.items()
    }


def test_no_answer_mixes_two_versions(client: Client, stack: Stack) -> None:
    # Bitrates are part of URLs: a server manifest keeps them, so that both versions share most.
    (stack.media / "mixed.ism").write_text(
        '<smil xmlns="http://www.w3.org/2001/SMIL20/Language"><head/><body><switch>'
        '<audio src="mixed.mp4" systemBitrate="64000"/>'
        '<video src="mixed.mp4" systemBitrate="200000"/></switch></body></smil>'
    )
    versions = []
    for file in (FIRST, SECOND):
        put(stack.media, file, "mixed.mp4")
        found = everything(client, stack, "/mixed.ism")
        versions.append({url.partition(".ism/")[2]: body for url, (_, body) in found.items()})
    common = sorted(versions[0].keys() & versions[1].keys())
    assert len(common) > 10
    stop = threading.Event()

    def replace() -> None:
        turn = 0
        while not stop.wait(0.003):
            put(stack.media, (FIRST, SECOND)[turn % 2], "mixed.mp4")
            turn += 1

    thread = threading.Thread(target=replace)
    thread.start()
    seen = set()
    try:
        end = time.monotonic() + 60
        for turn in itertools.count():
            if (turn >= 300 and seen == {0, 1}) or time.monotonic() > end:
                break
            name = common[turn % len(common)]
            answer = client.request(f"/mixed.ism/{name}")
            if answer.status == 200:
                matching = [i for i, known in enumerate(versions) if known[name] == answer.body]
                assert matching, f"{name} is of neither version"
                seen.update(matching)
            else:
                assert answer.status == 503, (name, answer.status, answer.body[:200])
    finally:
        stop.set()
        thread.join()
    assert seen == {0, 1}
