"""What publishing points make of real streams, as ffmpeg and yt-dlp understand it."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from sidecar.errors import NotFound, OriginError
from sidecar.formats.registry import find
from sidecar.live.model import EndOfStream
from sidecar.live.parser import StreamParser
from sidecar.live.point import Point
from sidecar.media.options import parse_options
from sidecar.media.server_manifest import ServerManifest, write_server_manifest
from sidecar.mux.plan import CacheClass, Plan
from sidecar.service.content import Content
from sidecar.service.live import PublishingPoint, Question, answer_live
from sidecar.service.reader import MediaReader
from tests.support.download import read_tracks
from tests.support.f4m_download import download as download_hds
from tests.support.frames import Frame, decode
from tests.support.media import generated
from tests.support.plans import body
from tests.support.yt_dlp import download as download_smooth

SOURCE = "bframes_closed.mp4"
SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND


class Published:
    """A publishing point that was sent ``streams``: name, and media file of an encoder."""

    def __init__(self, folder: Path, *streams: tuple[str, Path], stop: bool = True) -> None:
        path = folder / "ch.isml"
        metas = (("archiving", "true"), ("dvr_window_length", "3600"))
        path.write_bytes(write_server_manifest(ServerManifest(metas=metas)))
        point = Point.open(path, parse_options(dict(metas), ""), NOW)
        now = NOW
        for name, file in streams:
            connection = point.connect(name, "encoder")
            for incoming in StreamParser().feed(file.read_bytes()):
                now += SECOND
                if stop or not isinstance(incoming, EndOfStream):
                    connection.take(incoming, now)
        if stop:
            point.stop(now)
        point.close(now)
        self.reader = MediaReader()
        self.point = PublishingPoint(
            Content(root=str(folder), path=str(path), asked=str(path), name="ch", is_manifest=True),
            self.reader,
        )

    def ask(self, path: str, query: str = "") -> Plan:
        found = find(path)
        assert found is not None, path
        question = Question(
            kind=found[0],
            match=found[1],
            virtual_path=path,
            args=query,
            directives={},
            read_ahead=0,
        )
        request, answer = answer_live(self.point, question)
        return self.point.seal(request, answer.plan).plan

    def body(self, path: str, query: str = "") -> bytes:
        return body(self.ask(path, query), self.reader)

    @contextmanager
    def served(self) -> Iterator[str]:
        """Over HTTP, at the URL."""
        published = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path, _, query = self.path.removeprefix("/ch.isml/").partition("?")
                try:
                    plan, data = published.ask(unquote(path), query), b""
                    data = published.body(unquote(path), query)
                except OriginError as error:
                    self.send_error(404, str(error))
                    return
                self.send_response(200)
                self.send_header("Content-Type", plan.content_type)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *words: object) -> None:
                """Nothing is said of it."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/ch.isml"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def remuxed(folder: Path, *arguments: str) -> Path:
    """The source, muxed as an encoder would."""
    path = folder / "pushed.bin"
    command = [
        "ffmpeg",
        "-nostdin",
        "-v",
        "error",
        "-y",
        "-i",
        str(generated(SOURCE)),
        "-c",
        "copy",
    ]
    subprocess.run([*command, *arguments, str(path)], check=True)
    return path


SMOOTH = ("-f", "ismv", "-movflags", "isml+frag_keyframe")
CMAF = ("-f", "mp4", "-movflags", "cmaf+frag_keyframe")


def hashes(path: Path, selector: str) -> list[str]:
    return [frame.hash for frame in decode(str(path), selector)[0]]


@cache
def encoded(kind: str) -> list[Frame]:
    """What the encoder was given: video (``v``) or audio (``a``)."""
    return decode(str(generated(SOURCE)), f"0:{kind}:0")[0]


def given(kind: str) -> list[str]:
    return [frame.hash for frame in encoded(kind)]


@pytest.mark.parametrize("encoder", [SMOOTH, CMAF], ids=["smooth", "cmaf"])
def test_yt_dlp_gets_what_was_sent_as_smooth(encoder: tuple[str, ...], tmp_path: Path) -> None:
    published = Published(tmp_path, ("main", remuxed(tmp_path, *encoder)))
    folder = tmp_path / "got"
    folder.mkdir()
    with published.served() as url:
        found = download_smooth(f"{url}/Manifest", folder)
    assert len(found) == 2
    for one in found:
        kind = "v" if one.format.get("vcodec") not in (None, "none") else "a"
        served, wanted = hashes(one.file, f"0:{kind}:0"), given(kind)
        if kind == "v":
            assert served == wanted
        else:
            # Sound may begin with what primes the decoder.
            assert "\n".join(wanted[2:]) in "\n".join(served)


@pytest.mark.parametrize("encoder", [SMOOTH, CMAF], ids=["smooth", "cmaf"])
def test_yt_dlp_gets_what_was_sent_as_hds(encoder: tuple[str, ...], tmp_path: Path) -> None:
    published = Published(tmp_path, ("main", remuxed(tmp_path, *encoder)))
    got = tmp_path / "got.flv"
    with published.served() as url:
        download_hds(f"{url}/.f4m", got)
    assert hashes(got, "0:v:0") == given("v")
    # Sound may begin with what primes the decoder, and end with the pictures.
    assert "\n".join(given("a")[2:-2]) in "\n".join(hashes(got, "0:a:0"))


@pytest.mark.parametrize("encoder", [SMOOTH, CMAF], ids=["smooth", "cmaf"])
@pytest.mark.parametrize("kind", ["mp4", "ismv"])
def test_a_download_of_what_is_over(encoder: tuple[str, ...], kind: str, tmp_path: Path) -> None:
    pushed = remuxed(tmp_path, *encoder)
    published = Published(tmp_path, ("main", pushed), stop=False)
    with pytest.raises(NotFound, match="vbegin to vend"):
        published.ask(f"ch.{kind}")
    with pytest.raises(NotFound, match="vbegin to vend"):
        published.ask(f"ch.{kind}", "vbegin=2")
    plan = published.ask(f"ch.{kind}", "vbegin=2&vend=6")
    assert plan.cache_class is CacheClass.MEDIA
    file = tmp_path / "got.mp4"
    file.write_bytes(published.body(f"ch.{kind}", "vbegin=2&vend=6"))
    video, sound = decode(str(file), "0:v:0", "0:a:0")
    wanted = given("v")
    assert [frame.hash for frame in video] == wanted[50:150]
    heard = [frame.hash for frame in sound][4:-4]
    everything = given("a")
    at = everything.index(heard[0])
    assert heard == everything[at : at + len(heard)]
    # Picture and sound are as far apart as in the source.
    times = {frame.hash: frame.time for frame in encoded("a")}
    apart = video[0].time - encoded("v")[50].time
    found = sound[4].time - times[sound[4].hash]
    late = 1024 / 48_000 if encoder is CMAF else 0  # ffmpeg forgets the priming of the first
    assert abs(float(found - apart) - late) < 0.03


def test_a_download_of_all_when_it_has_ended(tmp_path: Path) -> None:
    pushed = remuxed(tmp_path, *SMOOTH)
    published = Published(tmp_path, ("main", pushed))
    assert published.ask("ch.mp4").cache_class is CacheClass.MANIFEST
    file = tmp_path / "got.mp4"
    file.write_bytes(published.body("ch.mp4"))
    assert hashes(file, "0:v:0") == given("v")


@pytest.mark.parametrize("kind", ["mp4", "ismv"])
def test_a_download_with_a_hole(kind: str, tmp_path: Path) -> None:
    data = remuxed(tmp_path, *CMAF).read_bytes()
    at, moofs = 0, []
    while at < len(data):
        size, name = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        if name == b"moof":
            moofs.append(at)
        at += size
    holed = tmp_path / "holed.bin"
    holed.write_bytes(data[: moofs[2]] + data[moofs[3] :])
    published = Published(tmp_path, ("main", holed))
    file = tmp_path / "got.mp4"
    file.write_bytes(published.body(f"ch.{kind}"))
    wanted = encoded("v")
    found = decode(str(file), "0:v:0")[0]
    assert [one.hash for one in found] == [one.hash for one in wanted[:100] + wanted[150:]]
    assert found[100].time - found[99].time == wanted[150].time - wanted[99].time
    if kind == "mp4":
        for track in read_tracks(file.read_bytes()):
            assert all(sample.size for sample in track.samples)


def test_a_download_of_times_since_1970(tmp_path: Path) -> None:
    offset = ("-output_ts_offset", str(NOW // SECOND))
    pushed = remuxed(tmp_path, *offset, *SMOOTH)
    published = Published(tmp_path, ("main", pushed))
    file = tmp_path / "got.mp4"
    file.write_bytes(published.body("ch.mp4", "vbegin=4.5&vend=7.5"))
    assert hashes(file, "0:v:0") == given("v")[100:200]
    (heard,) = decode(str(file), "0:a:0")
    assert abs(float(heard[0].time)) < 0.03
    assert abs(len(heard) - 4 * 48_000 / 1024) <= 3


@pytest.mark.parametrize("query", ["", "vend=4", "vbegin=0", "vbegin=1&vend=4"])
def test_a_download_from_the_first_picture_on_begins_at_0(query: str, tmp_path: Path) -> None:
    offset = ("-output_ts_offset", str(NOW // SECOND))
    published = Published(tmp_path, ("main", remuxed(tmp_path, *offset, *SMOOTH)))
    file = tmp_path / "got.mp4"
    file.write_bytes(published.body("ch.mp4", query))
    video, sound = decode(str(file), "0:v:0", "0:a:0")
    assert [one.hash for one in video] == given("v")[: 100 if "vend" in query else None]
    assert video[0].time == 0
    assert abs(float(sound[0].time)) < 0.03
    for track in read_tracks(file.read_bytes()):
        assert all(media_time >= 0 for _, media_time in track.edits)


@pytest.mark.parametrize(("begin", "end"), [(2, 6), (2.5, 6), (1.5, 5.5), (0, 4)])
@pytest.mark.parametrize("name", ["ch.m4a", "ch.mp4"])
def test_sound_is_downloaded_to_the_frame(
    name: str, begin: float, end: float, tmp_path: Path
) -> None:
    published = Published(tmp_path, ("main", remuxed(tmp_path, *SMOOTH)))
    query = f"vbegin={begin}&vend={end}" + ('&filter=type=="audio"' if ".mp4" in name else "")
    file = tmp_path / "got.mp4"
    file.write_bytes(published.body(name, query))
    (heard,) = decode(str(file), "0:a:0")
    times = {frame.hash: frame.time for frame in encoded("a")}
    frame = 1024 / 48_000
    settled = heard[5]
    assert abs(float(times[settled.hash] - settled.time) - begin) <= frame
    assert abs(len(heard) * frame - (end - begin)) <= 3 * frame
