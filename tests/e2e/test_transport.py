"""Transport streams through the whole stack: files of the spool come and go unnoticed."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.hls import read_master, read_media
from tests.support.http import Client
from tests.support.media import place
from tests.support.mpegts import check_clock, read_ts
from tests.support.stack import Stack

LENGTH = "hls_minimum_fragment_length=2"
# Of the sources, that whose segments are larger than what travels with a plan.
HEAVY = "/heavy_ts.mp4"


def segments(client: Client, stack: Stack, path: str) -> list[str]:
    """URLs of the segments of the first variant."""
    url = f"{stack.base}{path}/.m3u8?{LENGTH}"
    playlist = read_master(client.get(url).text, url).variants[0]["URI"]
    return [one.url for one in read_media(client.get(playlist).text, playlist).segments]


@pytest.fixture(scope="module")
def heavy(stack: Stack) -> str:
    place(stack.media, "heavy.mp4", name=HEAVY[1:])
    return HEAVY


def spooled(stack: Stack) -> list[Path]:
    return [path for path in (stack.run / "spool").rglob("*") if path.is_file()]


def test_a_segment_is_a_file_and_every_way_of_asking_works(
    client: Client, stack: Stack, heavy: str
) -> None:
    url = segments(client, stack, heavy)[0]
    whole = client.get(url)
    assert whole.headers["content-type"] == "video/mp2t"
    check_clock(read_ts(whole.body))
    assert len(whole.body) in {path.stat().st_size for path in spooled(stack)}
    head = client.request(url, method="HEAD")
    assert int(head.headers["content-length"]) == len(whole.body)
    part = client.request(url, headers={"Range": "bytes=188-563"})
    assert (part.status, part.body) == (206, whole.body[188:564])
    etag = whole.headers["etag"]
    assert client.request(url, headers={"If-None-Match": etag}).status == 304
    assert 'rel="next"' in whole.headers["link"]


def test_files_that_are_gone_are_made_anew(client: Client, stack: Stack, heavy: str) -> None:
    urls = segments(client, stack, heavy)
    before = [client.get(url) for url in urls]
    for path in spooled(stack):
        path.unlink()
    after = [client.get(url) for url in urls]
    assert [one.body for one in after] == [one.body for one in before]
    assert [one.headers["etag"] for one in after] == [one.headers["etag"] for one in before]


def test_many_ask_for_one_segment(stack: Stack) -> None:
    place(stack.media, "heavy.mp4", name="crowd.mp4")
    with closing(stack.client()) as client:
        url = segments(client, stack, "/crowd.mp4")[1]

    def fetch(_: int) -> bytes:
        with closing(stack.client()) as client:
            return client.get(url).body

    count = len(spooled(stack))
    with ThreadPoolExecutor(12) as crowd:
        bodies = set(crowd.map(fetch, range(24)))
    assert len(bodies) == 1
    assert len(spooled(stack)) == count + 1, "made once"


def test_a_replaced_source_is_noticed(client: Client, stack: Stack) -> None:
    place(stack.media, "bframes_closed.mp4", name="changing.mp4")
    url = segments(client, stack, "/changing.mp4")[0]
    before = client.get(url)
    os.utime(stack.media / "changing.mp4", (1_000_000_000, 1_000_000_000))
    after = client.get(url)
    assert after.body == before.body
    assert after.headers["etag"] != before.headers["etag"]
    place(stack.media, "bframes_open.mp4", name="changing.mp4")
    assert client.request(url).status == 404, "another file, other bitrates"


def test_the_query_of_playlists_is_carried_and_segments_are_free_of_it(
    client: Client, stack: Stack
) -> None:
    url = f"{stack.base}/ladder.ism/.m3u8?hls_client_manifest_version=1&hls_no_audio_only"
    master = read_master(client.get(url).text, url)
    assert len(master.variants) == 3 and not master.media
    for variant in master.variants:
        assert variant["URI"].endswith(".m3u8?hls_client_manifest_version=1")
        playlist = read_media(client.get(variant["URI"]).text, variant["URI"])
        assert all(one.url.endswith(".ts") for one in playlist.segments)
    url = f"{stack.base}/ladder.ism/.m3u8?hls_no_multiplex=true"
    apart = read_master(client.get(url).text, url)
    assert all(one.endswith(".m3u8") for one in apart.playlists)
