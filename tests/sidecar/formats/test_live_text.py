"""Text that is pushed live, with long silences, in every format that has it."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from tests.support.boxes import Traf, Trun, box, empty, init, moof
from tests.support.live_feed import LADDER, Feed, text
from tests.support.live_media import CMAF, Encoding, pushed
from tests.support.live_origin import Origin, opened, pieces
from tests.support.text import Shown, decode_wvtt

SECONDS = 24
MEDIA = Encoding(form=CMAF.form, flags=CMAF.flags, seconds=SECONDS, gop=50)
NS = {"m": "urn:mpeg:dash:schema:mpd:2011", "t": "http://www.w3.org/ns/ttml"}
ENTRIES = {
    "wvtt": box(b"wvtt", bytes(6), b"\0\1", box(b"vttC", b"WEBVTT")),
    "stpp": box(b"stpp", bytes(6), b"\0\1", b"http://www.w3.org/ns/ttml\0\0\0"),
}
HANDLERS = {"wvtt": b"text", "stpp": b"subt"}
# When something is said, seconds: for how long, and what.
SAID = {2: (3, "first"), 17: (2, "second"), 20: (1, "third")}


def stream(kind: str) -> bytes:
    return init(
        empty(handler_type=HANDLERS[kind], entry=ENTRIES[kind], language="eng", timescale=1000)
    )


def sample(kind: str, begin: int, length: int, words: str) -> bytes:
    if kind == "wvtt":
        return box(b"vttc", box(b"payl", words.encode()))
    shown = f'<p begin="{begin}s" end="{begin + length}s">{words}</p>'
    return f'<tt xmlns="http://www.w3.org/ns/ttml"><body><div>{shown}</div></body></tt>'.encode()


def fragment(kind: str, begin: int) -> bytes:
    length, words = SAID[begin]
    data = sample(kind, begin, length, words)

    def made(offset: int) -> bytes:
        run = Trun(rows=[(1000 * length, len(data))], data_offset=offset)
        return moof(Traf(time=1000 * begin, truns=(run,)))

    return made(len(made(0)) + 8) + box(b"mdat", data)


class Channel:
    """Pictures and sound come in real time, text as soon as it is shown."""

    def __init__(self, origin: Origin, kind: str) -> None:
        self.origin, self.kind = origin, kind
        self._media = iter(pieces(pushed(MEDIA)))
        self._waiting = next(self._media)
        self._said = iter(SAID)
        self._next = next(self._said)
        origin.push(stream(kind), stream="text")

    def until(self, seconds: float) -> None:
        while self._waiting[0] <= seconds:
            self.origin.push(self._waiting[1], now=self._waiting[0])
            self._waiting = next(self._media, (1e9, b""))
        while self._next <= seconds:
            self.origin.push(fragment(self.kind, self._next), stream="text", now=self._next)
            self._next = next(self._said, 10**9)

    def text_playlist(self, query: str = "") -> str:
        master = self.origin.get(f".m3u8{query}").text
        (uri,) = re.findall(r'TYPE=SUBTITLES.*URI="([^"]+)"', master)
        return self.origin.get(uri).text

    def video_playlist(self) -> str:
        master = self.origin.get(".m3u8?hls_fmp4").text
        (uri,) = re.findall(r"\n(.*video.*m3u8.*)", master)
        return self.origin.get(uri).text


@pytest.fixture(params=["wvtt", "stpp"])
def channel(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Channel]:
    with opened(tmp_path / "ch", dvr_window_length="60", archiving="true") as origin:
        yield Channel(origin, request.param)


def urls(playlist: str) -> list[str]:
    return [line for line in playlist.splitlines() if line and not line.startswith("#")]


def test_silence_keeps_nobody_waiting(channel: Channel) -> None:
    channel.until(4)
    # One fragment is enough for it to be there.
    assert len(urls(channel.text_playlist())) >= 1
    channel.until(16)
    pictures, words = channel.video_playlist(), channel.text_playlist()
    assert len(urls(pictures)) == 8
    # When nothing has come for five seconds, nothing will.
    assert len(urls(words)) == 5
    for playlist in (pictures, words):
        assert "#EXT-X-MEDIA-SEQUENCE:1\n" in playlist
    channel.until(SECONDS)
    assert len(urls(channel.text_playlist())) >= 9


def test_webvtt(channel: Channel) -> None:
    channel.until(SECONDS)
    playlist = channel.text_playlist()
    bodies = [channel.origin.get(url).text for url in urls(playlist)]
    for body in bodies:
        assert re.match(
            r"WEBVTT\nX-TIMESTAMP-MAP=(MPEGTS:900000,LOCAL:00:00:00.000|LOCAL:00:00:00.000,MPEGTS:900000)\n",
            body,
        )
    held = [re.findall("first|second|third", body) for body in bodies]
    # Segments of two seconds each; a cue is in all of those in which it is shown.
    assert held[:9] == [[], ["first"], ["first"], [], [], [], [], [], ["second"]]
    assert "00:00:02.000 --> 00:00:05.000" in bodies[1]
    assert held[9] == ["second"]
    assert "00:00:17.000 --> 00:00:19.000" in bodies[8]


def test_dash(channel: Channel) -> None:
    channel.until(SECONDS)
    root = etree.fromstring(channel.origin.get(".mpd").body)
    (subtitles,) = root.findall("m:Period/m:AdaptationSet[@contentType='text']", NS)
    codecs = {"wvtt": "wvtt", "stpp": "stpp.ttml.im1t"}
    assert subtitles.get("codecs") == codecs[channel.kind]
    template, one = subtitles.find("m:SegmentTemplate", NS), subtitles.find("m:Representation", NS)
    assert template is not None
    assert one is not None
    media = template.get("media", "").replace("$RepresentationID$", one.get("id", ""))
    first = channel.origin.get("dash/" + urllib.parse.unquote(media.replace("$Time$", "2000"))).body
    silent = channel.origin.get(
        "dash/" + urllib.parse.unquote(media.replace("$Time$", "10000"))
    ).body
    samples = [body[body.index(b"mdat") + 4 :] for body in (first, silent)]
    if channel.kind == "wvtt":
        assert decode_wvtt(samples[0]) == [Shown(payload="first")]
        assert decode_wvtt(samples[1]) == []
    else:
        assert b"first" in samples[0]
        (body,) = etree.fromstring(samples[1]).iterfind("t:body", NS)
        assert "".join(body.itertext()).strip() == ""


def test_smooth(channel: Channel) -> None:
    channel.until(SECONDS)
    root = etree.fromstring(channel.origin.get("Manifest").body)
    (stream,) = root.findall("StreamIndex[@Type='text']")
    (level,) = stream.findall("QualityLevel")
    assert level.get("FourCC") == "TTML"
    url = stream.get("Url", "").replace("{bitrate}", level.get("Bitrate", ""))
    shown = []
    for second in (0, 2, 4, 6):
        found = channel.origin.get(url.replace("{start time}", str(second * 10_000_000)))
        document = found.body[found.body.index(b"mdat") + 4 :]
        paragraphs = etree.fromstring(document).iterfind(".//t:p", NS)
        shown.append([("".join(p.itertext()), p.get("begin"), p.get("end")) for p in paragraphs])
    # Times count from the begin of the fragment.
    assert shown == [
        [],
        [("first", "00:00:00.000", "00:00:02.000")],
        [("first", "00:00:00.000", "00:00:01.000")],
        [],
    ]


def test_a_night_without_a_word(tmp_path: Path) -> None:
    feed = Feed(tmp_path, [*LADDER, text(4)])
    feed.push(0, 1)
    night = 20_000
    feed.push(*range(night, night + 20), only=(1, 2, 3))
    before = urls(feed.body("ch-textstream_eng=2000.m3u8").decode())
    assert len(before) > 10
    feed.push(night + 20)
    after = urls(feed.body("ch-textstream_eng=2000.m3u8").decode())
    # What was silent before is listed still.
    assert set(before[1:]) <= set(after)
    assert len(after) >= len(before)
