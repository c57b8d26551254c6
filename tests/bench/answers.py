"""What the stack answers: URLs from its manifests, bodies as static files, bodies checked."""

from __future__ import annotations

import base64
import http.client
import re
import struct
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin
from xml.etree import ElementTree


class Wrong(Exception):
    """An answer is not what it must be."""


class Client:
    """One kept-alive connection; made again when the server has closed it meanwhile."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def get(self, path: str, range_: str = "") -> bytes:
        """The body, or ``range_`` of it; raises ``Wrong`` unless the status says so."""
        headers = {"Range": range_} if range_ else {}
        try:
            response = self._request(path, headers)
        except http.client.RemoteDisconnected:
            response = self._request(path, headers)
        body = response.read()
        if response.status != (206 if range_ else 200):
            raise Wrong(f"{path}: {response.status} {body[:200]!r}")
        return body

    def _request(self, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        self._connection.request("GET", path, headers=headers)
        return self._connection.getresponse()

    def timed(self, path: str) -> float:
        """Seconds from the request to the last byte, connection made before."""
        self._connection.connect()
        started = time.perf_counter()
        self.get(path)
        return time.perf_counter() - started

    def first_byte(self, path: str) -> float:
        """Seconds from the request to the first byte of the body, connection made before."""
        self._connection.connect()
        started = time.perf_counter()
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        if answer.status != 200 or not answer.read(1):
            raise Wrong(f"{path}: {answer.status}")
        elapsed = time.perf_counter() - started
        # Gigabytes follow, which nobody wants.
        self._connection.close()
        return elapsed

    def close(self) -> None:
        self._connection.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """URL paths of one presentation's HLS output."""

    master: str
    mpd: str
    video_playlist: str
    audio_playlist: str
    video_init: str
    audio_init: str
    video: tuple[str, ...]
    audio: tuple[str, ...]

    def segments(self, kind: str) -> tuple[str, ...]:
        return self.video if kind == "video" else self.audio


def discover(client: Client, presentation: str) -> Site:
    """Follows the playlists of ``/one.ism`` in fragmented MP4; the video is that of the highest
    bandwidth."""
    master = f"{presentation}/.m3u8?hls_fmp4"
    text = client.get(master).decode()
    variants = _variants(text)
    groups = re.findall(r"#EXT-X-MEDIA:TYPE=AUDIO[^\n]*URI=\"([^\"]+)\"", text)
    if not variants or not groups:
        raise Wrong(f"{master}: no video variant, or no audio rendition with a URI")
    _, best = max(variants, key=lambda variant: int(variant[0]))
    video_playlist, audio_playlist = urljoin(master, best), urljoin(master, groups[0])
    video_init, video = _segments(client, video_playlist)
    audio_init, audio = _segments(client, audio_playlist)
    return Site(
        master=master,
        mpd=f"{presentation}/.mpd",
        video_playlist=video_playlist,
        audio_playlist=audio_playlist,
        video_init=video_init,
        audio_init=audio_init,
        video=video,
        audio=audio,
    )


def transport_streams(client: Client, presentation: str) -> tuple[str, ...]:
    """URL paths of the segments of the variant with the highest bandwidth, sound and picture."""
    master = f"{presentation}/.m3u8"
    variants = _variants(client.get(master).decode())
    if not variants:
        raise Wrong(f"{master}: no video variant")
    _, best = max(variants, key=lambda variant: int(variant[0]))
    playlist = urljoin(master, best)
    names = client.get(playlist).decode().splitlines()
    return tuple(urljoin(playlist, name) for name in names if name and not name.startswith("#"))


def check_ts(client: Client, segment: str, clip: Path, first: int, pictures: int) -> None:
    """A segment has the ``pictures`` of the clip from number ``first`` on, and decodes without a
    complaint; raises ``Wrong``."""
    body = client.get(segment)
    command = ["ffmpeg", "-nostdin", "-v", "warning", "-i", "-", "-map", "0:v"]
    command += ["-f", "framemd5", "-"]
    done = subprocess.run(command, input=body, capture_output=True, check=False)
    if done.returncode or done.stderr:
        raise Wrong(f"{segment}: {done.stderr.decode(errors='replace')[:300]}")
    source = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(clip), "-map", "0:v"]
    source += ["-f", "framemd5", "-"]
    whole = subprocess.run(source, capture_output=True, check=True)
    found, wanted = ([line.rpartition(b",")[2] for line in run.stdout.splitlines()
                      if not line.startswith(b"#")] for run in (done, whole))  # fmt: skip
    if found != wanted[first : first + pictures]:
        raise Wrong(f"{segment}: {len(found)} pictures, not those of the source")


def _variants(master: str) -> list[tuple[str, str]]:
    """(bandwidth, URI) of the variants with pictures."""
    found: list[tuple[str, str]] = re.findall(
        r"#EXT-X-STREAM-INF:BANDWIDTH=(\d+)[^\n]*RESOLUTION[^\n]*\n(\S+)", master
    )
    return found


def _segments(client: Client, playlist: str) -> tuple[str, tuple[str, ...]]:
    lines = client.get(playlist).decode().splitlines()
    inits = [found[1] for line in lines if (found := re.match(r'#EXT-X-MAP:URI="([^"]+)"', line))]
    if len(inits) != 1:
        raise Wrong(f"{playlist}: {len(inits)} EXT-X-MAP")
    names = [line for line in lines if line and not line.startswith("#")]
    return urljoin(playlist, inits[0]), tuple(urljoin(playlist, name) for name in names)


def fragments(client: Client, presentation: str) -> tuple[str, ...]:
    """URL paths of the HDS fragments of a presentation: of the last, the highest, stream."""
    manifest = client.get(f"{presentation}/.f4m").decode()
    urls = re.findall(r'<media [^>]*url="([^"]+)"', manifest)
    tables = re.findall(r"<bootstrapInfo[^>]*>([^<]+)<", manifest)
    if not urls or not tables:
        raise Wrong(f"{presentation}/.f4m: no stream")
    table = base64.b64decode(tables[-1])
    # After the header, version and flags, the number of qualities and that of entries: segment 1.
    at = table.index(b"asrt") + 4 + 4 + 1 + 4
    segment, count = struct.unpack_from(">II", table, at)
    return tuple(f"{presentation}/{urls[-1]}Seg{segment}-Frag{n}" for n in range(1, count + 1))


def smooth_fragments(client: Client, presentation: str) -> tuple[str, ...]:
    """URL paths of the Smooth fragments of the video with the highest bitrate."""
    manifest = ElementTree.fromstring(client.get(f"{presentation}/Manifest"))
    stream = manifest.find("StreamIndex[@Type='video']")
    if stream is None:
        raise Wrong(f"{presentation}/Manifest: no video")
    bitrate = max(int(level.get("Bitrate", "0")) for level in stream.iter("QualityLevel"))
    template = stream.get("Url", "").replace("{bitrate}", str(bitrate))
    time, times = 0, []
    for chunk in stream.iter("c"):
        time = int(chunk.get("t", time))
        for _ in range(int(chunk.get("r", "1"))):
            times.append(time)
            time += int(chunk.get("d", "0"))
    return tuple(f"{presentation}/{template.replace('{start time}', str(time))}" for time in times)


def check_smooth(client: Client, fragments: Sequence[str], segments: Sequence[str]) -> None:
    """The samples of the first ``fragments`` are those of the first of ``segments`` (CMAF);
    raises ``Wrong``."""
    each = len(fragments) // len(segments)
    found = b"".join(_media_data(client.get(path)) for path in fragments[:each])
    if found != _media_data(client.get(segments[0])):
        raise Wrong(f"{fragments[0]}: not the samples of {segments[0]}")


def _media_data(segment: bytes) -> bytes:
    at = 0
    while at < len(segment):
        size, kind = struct.unpack_from(">I4s", segment, at)
        if kind == b"mdat":
            return segment[at + 8 : at + size]
        at += size
    raise Wrong("a segment without mdat")


def check_flv(client: Client, fragment: str) -> None:
    """A fragment decodes without a complaint, pictures and sound; raises ``Wrong``."""
    body = client.get(fragment)
    command = ["ffmpeg", "-nostdin", "-v", "warning", "-f", "flv", "-i", "-", "-map", "0:v"]
    command += ["-map", "0:a", "-f", "null", "-"]
    head = b"FLV\x01\x05\0\0\0\x09\0\0\0\0"
    done = subprocess.run(command, input=head + body[8:], capture_output=True, check=False)
    if done.returncode or done.stderr or body[4:8] != b"mdat":
        raise Wrong(f"{fragment}: {done.stderr.decode(errors='replace')[:300]}")


def save(client: Client, paths: Sequence[str], folder: Path) -> list[Path]:
    """The bodies of ``paths`` as files 0000, 0001 ... of ``folder``; written only when changed."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for index, path in enumerate(paths):
        body = client.get(path)
        file = folder / f"{index:04d}"
        if not file.exists() or file.read_bytes() != body:
            file.write_bytes(body)
        files.append(file)
    for stale in sorted(folder.iterdir())[len(files) :]:
        stale.unlink()
    return files


def check_same(client: Client, paths: Sequence[str], files: list[Path]) -> None:
    """Every answer equals its file; raises ``Wrong``."""
    for path, file in zip(paths, files, strict=True):
        if client.get(path) != file.read_bytes():
            raise Wrong(f"{path}: not the bytes answered before")


def check_packets(client: Client, init: str, segment: str, clip: Path, first: int) -> None:
    """The packets of a segment are, byte for byte, those of the clip from number ``first`` on."""
    stream = "v" if "video" in segment else "a"
    answered = _packet_hashes("-", stream, client.get(init) + client.get(segment))
    expected = _packet_hashes(str(clip), stream)[first : first + len(answered)]
    if len(answered) < 90 or answered != expected:
        raise Wrong(f"{segment}: {len(answered)} packets, not those of the source")


def _packet_hashes(name: str, stream: str, media: bytes = b"") -> list[str]:
    command = (
        "ffmpeg", "-nostdin", "-loglevel", "error", "-f", "mp4", "-i", name,
        "-map", f"0:{stream}", "-c", "copy", "-f", "framemd5", "-",
    )  # fmt: skip
    done = subprocess.run(command, input=media, capture_output=True, check=True)
    lines = done.stdout.decode().splitlines()
    # stream, dts, pts, duration, size, hash, and then the same of side data
    return [line.split(",")[5].strip() for line in lines if not line.startswith("#")]
