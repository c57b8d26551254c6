"""Decoded frames by ffmpeg: hashes and presentation times, of files and of served URLs."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from tests.support.media import CACHE, SHARED
from tests.support.read_once import read_once


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame: presentation time in seconds, MD5 of its raw picture or PCM."""

    time: Fraction
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """The frames of one stream. ``height`` and ``channels``: of video, and of sound."""

    kind: str
    height: int | None
    channels: int | None
    frames: list[Frame]


def decode(
    url: str,
    *maps: str,
    ignore_edits: bool = False,
    seconds: float | None = None,
    in_real_time: bool = False,
    timeout: float = 180,
) -> list[list[Frame]]:
    """The decoded frames of each of ``maps`` (ffmpeg stream specifiers such as ``0:v:0``).

    ``ignore_edits``: every sample of the file, also those that an edit list leaves out.
    ``seconds``: so much of it only. ``in_real_time``: read as fast as it plays.
    Raises ``AssertionError`` with ffmpeg's words when it fails or complains of anything.
    """
    run = _decoded_once if _is_kept(url) else _decoded
    found = run(
        url,
        maps,
        timeout,
        ignore_edits=ignore_edits,
        seconds=seconds,
        in_real_time=in_real_time,
    )
    assert len(found) == len(maps), f"{url}: {maps}: {len(found)} streams"
    return [list(one.frames) for one in found]


def decode_all(url: str, *, only: str | None = None, timeout: float = 180) -> list[Decoded]:
    """All video and sound of ``url``, or that of the stream specifier ``only``.

    Raises ``AssertionError`` as ``decode`` does.
    """
    run = _decoded_once if _is_kept(url) else _decoded
    return run(url, (only,) if only else ("0:v?", "0:a?"), timeout)


def _decoded(
    url: str,
    maps: tuple[str, ...],
    timeout: float,
    *,
    ignore_edits: bool = False,
    seconds: float | None = None,
    in_real_time: bool = False,
) -> list[Decoded]:
    command = ["ffmpeg", "-nostdin", "-v", "warning", "-copyts"]
    command += ["-ignore_editlist", "1"] if ignore_edits else []
    command += ["-re"] if in_real_time else []
    command += [*_input(url)]
    for selector in maps:
        command += ["-map", selector]
    command += ["-t", str(seconds)] if seconds else []
    command += ["-vsync", "passthrough", "-f", "framemd5", "-"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    assert run.returncode == 0, f"{' '.join(command)}\n{run.stderr}"
    frames: dict[int, list[Frame]] = {}
    head: dict[tuple[str, int], str] = {}
    channels: dict[int, int] = {}
    for line in run.stdout.splitlines():
        if line.startswith("#"):
            name, _, rest = line[1:].partition(" ")
            index, colon, value = rest.partition(": ")
            if colon and index.isdigit():
                head[name, int(index)] = value
                frames.setdefault(int(index), [])
        elif line:
            number, _dts, pts, duration, size, md5 = (part.strip() for part in line.split(","))
            stream = int(number)
            frames[stream].append(Frame(int(pts) * Fraction(head["tb", stream]), md5))
            # Two bytes a sample, and as many ticks as samples.
            channels.setdefault(stream, int(size) // (2 * int(duration)))
    assert frames and all(frames.values()), f"no frames: {' '.join(command)}\n{run.stderr}"
    found = []
    for stream, shown in sorted(frames.items()):
        kind = head["media_type", stream]
        is_video = kind == "video"
        height = int(head["dimensions", stream].partition("x")[2]) if is_video else None
        found.append(
            Decoded(
                kind=kind,
                height=height,
                channels=None if is_video else channels[stream],
                frames=shown,
            )
        )
    return found


_decoded_once = read_once(_decoded)


def _input(url: str) -> list[str]:
    # ffmpeg refuses segments called .dash unless it is told that any name will do.
    allowed = ["-allowed_extensions", "ALL"] if ".mpd" in url else []
    return [*allowed, "-i", url]


def probe(url: str) -> list[dict[str, Any]]:
    """ffprobe's streams of ``url``."""
    return _probed_once(url) if _is_kept(url) else _probed(url)


def _probed(url: str) -> list[dict[str, Any]]:
    command = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", *_input(url)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert run.returncode == 0, f"{' '.join(command)}\n{run.stderr}"
    streams: list[dict[str, Any]] = json.loads(run.stdout)["streams"]
    return streams


_probed_once = read_once(_probed)


def _is_kept(url: str) -> bool:
    """Whether ``url`` is a file that stays as it is."""
    return Path(url).is_relative_to(CACHE) or Path(url).is_relative_to(SHARED)


def dropped(source: list[Frame], served: list[Frame]) -> tuple[int, int]:
    """How many frames at the start and at the end of ``source`` are not in ``served``.

    All others must be there, in order, with equal hashes. When frames at the start are left out,
    the first one decoded may differ: an audio decoder overlaps it with the one before.
    """
    wanted = [frame.hash for frame in source]
    found = [frame.hash for frame in served]
    for start in range(min(len(wanted), 64)):
        inexact = 1 if start else 0
        length = len(found)
        if found[inexact:] == wanted[start + inexact : start + length] and length:
            return start, len(wanted) - start - length
    common = sum((Counter(wanted) & Counter(found)).values())
    first = next((i for i, (a, b) in enumerate(zip(wanted, found, strict=False)) if a != b), None)
    raise AssertionError(
        f"{len(found)} frames served, {len(wanted)} in the source, {common} in common, "
        f"the first that differs: {first}"
    )


@dataclass(frozen=True, slots=True)
class Packet:
    """One coded frame of a file: byte offset, presentation time in seconds, and whether ffmpeg
    decodes it without showing it."""

    position: int
    time: Fraction
    is_discarded: bool


def packets(path: str, stream: int, *, ignore_edits: bool = False) -> list[Packet]:
    """The packets of a file's stream in presentation order."""
    find = _packets_once if _is_kept(path) else _packets
    return find(path, stream, ignore_edits)


def _packets(path: str, stream: int, ignore_edits: bool) -> list[Packet]:
    command = ["ffprobe", "-v", "error", "-of", "json"]
    command += ["-ignore_editlist", "1"] if ignore_edits else []
    command += ["-select_streams", str(stream), "-show_packets", "-show_streams", path]
    run = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert run.returncode == 0, f"{' '.join(command)}\n{run.stderr}"
    answer = json.loads(run.stdout)
    base = Fraction(answer["streams"][0]["time_base"])
    found = [
        Packet(int(packet["pos"]), packet["pts"] * base, "D" in packet["flags"])
        for packet in answer["packets"]
    ]
    return sorted(found, key=lambda packet: packet.time)


_packets_once = read_once(_packets)
