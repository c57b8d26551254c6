"""Archive files of what ffmpeg sends: MP4s of their own, cut by time."""

from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path

import pytest

from sidecar.live.connection import Outcome
from sidecar.live.index import PointIndex
from sidecar.live.model import EndOfStream
from sidecar.live.parser import StreamParser
from sidecar.live.point import Point
from sidecar.media.index import index_media
from sidecar.storage.local import open_local
from tests.support.encoder import NAMES, packets, stream
from tests.support.pushed import NOW, both, header, manifest, video


def push(folder: Path, name: str, **options: object) -> PointIndex:
    """The index after ffmpeg's stream ``name`` came to its end."""
    path, given = manifest(folder, **options)
    point = Point.open(path, given, NOW)
    connection = point.connect("main/1", "a")
    parser = StreamParser()
    for incoming in [*parser.feed(stream(name)), *parser.finish()]:
        if not isinstance(incoming, EndOfStream):
            assert connection.take(incoming, NOW).outcome is not Outcome.DUPLICATE
    point.close(NOW)
    return PointIndex.open(path.with_suffix(".db3"))


def probed(path: Path) -> dict[str, list[dict[str, str]]]:
    command = [
        *("ffprobe", "-v", "warning", "-ignore_editlist", "1", "-show_packets", "-show_streams"),
        *("-of", "json", str(path)),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    found: dict[str, list[dict[str, str]]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_readable_on_its_own(tmp_path: Path, name: str) -> None:
    index = push(tmp_path, name)
    (file,) = index.files()
    assert file.closed
    path = tmp_path / file.name
    assert file.name == "ch-main_1-1.mp4"
    found = probed(path)
    sent = packets(name)
    for track, expected in sent.items():
        number = next(one["index"] for one in found["streams"] if int(str(one["id"]), 16) == track)
        sizes = [int(one["size"]) for one in found["packets"] if one["stream_index"] == number]
        assert sizes == [one.size for one in expected]
    with open_local(str(path)) as source:
        media = index_media(source)
    for one in media.tracks:
        assert one.samples.size.tolist() == [packet.size for packet in sent[one.track_id]]


def test_its_index_leads_to_every_fragment(tmp_path: Path) -> None:
    index = push(tmp_path, "cmaf")
    (file,) = index.files()
    data = (tmp_path / file.name).read_bytes()
    (length,) = struct.unpack(">I", data[-4:])
    mfra = data[-length:]
    assert mfra[4:8] == b"mfra"
    position, found = 8, 0
    while mfra[position + 4 : position + 8] == b"tfra":
        track, _, count = struct.unpack_from(">III", mfra, position + 12)
        entries = list(
            struct.iter_unpack(">QQBBB", mfra[position + 24 : position + 24 + 19 * count])
        )
        assert all(data[moof + 4 : moof + 8] == b"moof" for _, moof, *_ in entries)
        keys = [packet.pts for packet in packets("cmaf")[track] if packet.sync]
        # Its times are those of the index, which begin with the first picture.
        assert {time - entries[0][0] for time, *_ in entries} <= {key - keys[0] for key in keys}
        found += count
        position += struct.unpack_from(">I", mfra, position)[0]
    assert found == len(index.newer(0)) > 4


def test_files_are_cut_at_whole_lengths_of_media_time(tmp_path: Path) -> None:
    path, given = manifest(tmp_path, archiving=1, archive_segment_length=10)
    point = Point.open(path, given, NOW)
    connection = point.connect("main", "a")
    connection.take(header(), NOW)
    # A late one goes to the file of the time when it came.
    for second in (6, 8, 12, 10, *range(14, 32, 2)):
        connection.take(both(second), NOW)
    point.close(NOW)
    index = PointIndex.open(path.with_suffix(".db3"))
    held = {
        file.name: sorted(
            {row.time for row in index.newer(0) if row.file == file.id and row.track == 1}
        )
        for file in index.files()
    }
    assert held == {
        "ch-main-1.mp4": [6000, 8000],
        "ch-main-2.mp4": [10_000, 12_000, 14_000, 16_000, 18_000],
        "ch-main-3.mp4": [20_000, 22_000, 24_000, 26_000, 28_000],
        "ch-main-4.mp4": [30_000],
    }
    assert all(file.closed for file in index.files())


def test_another_header_begins_another_file(tmp_path: Path) -> None:
    path, given = manifest(tmp_path)
    point = Point.open(path, given, NOW)
    connection = point.connect("main", "a")
    connection.take(header(), NOW)
    connection.take(both(0), NOW)
    second = header(digest=b"other")
    connection.take(second, NOW)
    connection.take(both(2), NOW)
    # The first encoder is still there.
    other = point.connect("main", "b")
    other.take(header(), NOW)
    other.take(both(4), NOW)
    point.close(NOW)
    index = PointIndex.open(path.with_suffix(".db3"))
    assert [(row.file, row.header) for row in index.newer(0) if row.track == 1] == [
        (1, 1),
        (2, 2),
        (1, 1),
    ]
    assert (tmp_path / "ch-main-2.mp4").read_bytes().startswith(second.data)


def test_names_of_files_that_are_there_are_not_taken(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"ch-main-{number}.mp4").write_bytes(b"of an index that was lost")
    path, given = manifest(tmp_path)
    points = [Point.open(path, given, NOW) for _ in range(2)]
    for point, fragments in zip(points, ((both(0), both(4)), (both(2), both(6))), strict=True):
        connection = point.connect("main", str(id(point)))
        connection.take(header(), NOW)
        for one in fragments:
            assert connection.take(one, NOW).outcome is Outcome.ADDED
    names = sorted(one.name for one in tmp_path.glob("*.mp4"))
    assert names == [f"ch-main-{number}.mp4" for number in (1, 2, 3, 4)]
    assert (tmp_path / "ch-main-1.mp4").read_bytes() == b"of an index that was lost"
    index = PointIndex.open(path.with_suffix(".db3"))
    assert [row.time for row in index.fragments(1, 0, 1 << 40)] == [0, 2000, 4000, 6000]
    for point in points:
        point.close(NOW)


def test_streams_have_files_of_their_own(tmp_path: Path) -> None:
    path, given = manifest(tmp_path)
    point = Point.open(path, given, NOW)
    for name in ("video-500k.cmfv", "../../etc/x", "Ü", "a" * 500):
        connection = point.connect(name, "a")
        connection.take(header(), NOW)
        connection.take(video(0), NOW)
    point.close(NOW)
    names = sorted(one.name for one in tmp_path.glob("ch-*.mp4"))
    assert names == sorted(
        ["ch-video-500k.cmfv-1.mp4", "ch-.._.._etc_x-2.mp4", "ch-_-3.mp4", f"ch-{'a' * 80}-4.mp4"]
    )
