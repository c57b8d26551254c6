"""What encoders post over HTTP, from their bytes to the index; and how each ends."""

from __future__ import annotations

import asyncio
import socket
import stat
from collections import deque
from collections.abc import AsyncIterator
from contextlib import closing
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from sidecar.boxes.write import box
from sidecar.errors import InvalidMedia, StorageError
from sidecar.live.index import PointIndex
from sidecar.live.model import Incoming
from sidecar.live.parser import StreamParser
from sidecar.live.point import Point
from sidecar.live.recovery import Report
from sidecar.live.statistics import connections_of, state_of, tracks_of
from sidecar.service.ingest import parse
from tests.support.encoder import stream
from tests.support.ingest import CREATE, Process, in_pieces, in_two, serving
from tests.support.license import issued, licensing

SMOOTH = stream("smooth")
CUT = len(SMOOTH) * 2 // 3


@pytest.fixture
def point(tmp_path: Path) -> Path:
    path = tmp_path / "ch.isml"
    path.write_text("<smil/>")
    return path


def opened(point: Path) -> closing[PointIndex]:
    return closing(PointIndex.open(point.with_suffix(".db3")))


def fragments(point: Path) -> int:
    with opened(point) as index:
        return sum(track.fragments for track in tracks_of(index))


async def eventually(condition: object, what: str) -> None:
    assert callable(condition)
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(what)


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_stream_is_taken_in(
    process: Process, point: Path, method: str, chunked: bool
) -> None:
    body = in_pieces(SMOOTH) if chunked else SMOOTH
    answer = await process.ask("Streams(main)", body, method=method)
    assert (answer.status, answer.result, answer.kind) == (200, "FMP4_OK", "live.ingest")
    with opened(point) as index:
        assert state_of(index).state == "stopped", "it ends with an empty mfra"
        tracks = tracks_of(index)
        assert sorted(track.kind for track in tracks) == ["audio", "video"]
        assert all(len(track.spans) == 1 and track.fragments > 1 for track in tracks)
        assert [one.state for one in connections_of(index)] == ["ended"]
    assert len(list(point.parent.glob("ch-main-*.mp4"))) == 1


async def test_a_fragment_is_there_as_soon_as_its_last_byte(process: Process, point: Path) -> None:
    go_on = asyncio.Event()
    body = in_two(SMOOTH[:CUT], SMOOTH[CUT:], go_on)
    sending = asyncio.create_task(process.ask("Streams(main)", body))
    await eventually(
        lambda: point.with_suffix(".db3").exists() and fragments(point) > 0, "fragments"
    )
    assert process.counted("streams") == 1
    before = fragments(point)
    go_on.set()
    assert (await sending).status == 200
    assert fragments(point) > before
    assert process.counted("streams") == 0
    assert process.counted("fragments_total", outcome="added") == fragments(point)
    assert process.counted("bytes_total") == len(SMOOTH)
    assert process.counted("store_seconds_count") > 0


async def test_two_encoders_with_the_same(process: Process, point: Path) -> None:
    answers = await asyncio.gather(
        *(process.ask("Streams(main)", in_pieces(SMOOTH, 3000 + n)) for n in range(2))
    )
    # Whichever ends first, the other was connected or is told that all is there.
    assert {one.status for one in answers} <= {200, 409}
    with opened(point) as index:
        tracks = tracks_of(index)
    assert all(track.gaps == 0 for track in tracks)
    added = process.counted("fragments_total", outcome="added")
    assert added == sum(track.fragments for track in tracks)


async def test_the_start_sequence(process: Process, point: Path) -> None:
    for body in (None, b"", in_pieces(b""), b"\0"):
        answer = await process.ask("", body)
        assert (answer.status, answer.body) == (200, b"")
    assert (await process.ask("Streams(main)", b"")).status == 200
    assert not list(point.parent.glob("*.mp4"))
    lost = await process.ask("", SMOOTH)
    assert (lost.status, lost.result) == (400, "FMP4_BAD_REQUEST")
    assert "Streams(name)" in lost.text


async def test_points_are_made_where_that_is_allowed(process: Process, tmp_path: Path) -> None:
    for virtual_path in ("", "Streams(main)"):
        refused = await process.ask(virtual_path, b"")
        assert (refused.status, refused.result) == (404, "FMP4_NOT_FOUND")
    assert not list(tmp_path.iterdir())
    assert (await process.ask("Streams(main)", SMOOTH, directives=CREATE)).status == 200
    assert fragments(tmp_path / "ch.isml") > 0
    off = {"origin_create_points": ("off",)}
    assert (await process.ask("", b"", path="/two.isml", directives=off)).status == 404
    no_folder = await process.ask("", b"", path="/none/ch.isml", directives=CREATE)
    assert no_folder.status == 404
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("path", "status"),
    [("/../ch.isml", 403), ("/ch.ism", 404), ("ch.isml", 400), ("/out/ch.isml", 403)],
)
async def test_only_below_the_document_root(
    process: Process, tmp_path: Path, sockets: Path, path: str, status: int
) -> None:
    (tmp_path / "out").symlink_to(sockets)
    answer = await process.ask("Streams(a)", SMOOTH, path=path, directives=CREATE)
    assert answer.status == status
    assert not list(tmp_path.parent.glob("*.isml")) and not list(sockets.glob("*.isml"))


@pytest.mark.parametrize("virtual_path", ["Streams()", "Streams(a)/x", "other", "Events(1)"])
async def test_other_names_are_no_streams(process: Process, point: Path, virtual_path: str) -> None:
    assert (await process.ask(virtual_path, SMOOTH)).status == 404


@pytest.mark.parametrize(
    ("damage", "status", "says"),
    [
        (lambda data: data[:-2000], 400, "the stream ends inside the box"),
        (lambda data: data[:CUT] + b"\0\0\0\4mdat" + data[CUT:], 400, "box"),
        (lambda data: b"not a stream of boxes at all", 400, "this is no ISO BMFF box"),
        (lambda data: data[data.index(b"moof") - 4 :], 400, "no moov came before"),
        (lambda data: data.replace(b"avc1", b"xvc1").replace(b"mp4a", b"xp4a"), 415, "served"),
    ],
)
async def test_what_is_damaged_is_refused_and_what_came_before_stays(
    process: Process, point: Path, damage: object, status: int, says: str
) -> None:
    assert callable(damage)
    data = damage(SMOOTH)
    whole = data.count(b"moof") if data[:CUT] == SMOOTH[:CUT] else 0
    with capture_logs() as logged:
        answer = await process.ask("Streams(main)", in_pieces(data))
    assert answer.status == status
    assert says in answer.text
    (line,) = [one for one in logged if one["event"] == "failed"]
    assert line["encoder"] == "192.0.2.1:1" and line["path"] == "/ch.isml"
    if status == 400:
        assert line["offset"] >= 0
    if whole:
        assert 0 < fragments(point) <= whole
    # The rest comes with the next connection.
    assert (await process.ask("Streams(main)", SMOOTH)).status == 200
    with opened(point) as index:
        assert all(track.gaps == 0 for track in tracks_of(index))


async def test_a_stream_that_has_ended_stays_so(process: Process, point: Path) -> None:
    assert (await process.ask("Streams(main)", SMOOTH)).status == 200
    again = await process.ask("Streams(main)", SMOOTH)
    assert (again.status, again.result) == (409, "FMP4_CONFLICT")
    assert "Stream is closed, cannot restart (track_name=" in again.text


async def test_an_event_that_is_another(process: Process, point: Path) -> None:
    point.write_text('<smil><head><meta name="event_id" content="one"/></head></smil>')
    other = await process.ask("Events(two)/Streams(main)", SMOOTH)
    assert (other.status, other.result) == (409, "FMP4_CONFLICT")
    assert (await process.ask("Events(one)/Streams(main)", SMOOTH)).status == 200


async def test_no_license_for_live(sockets: Path, tmp_path: Path, point: Path) -> None:
    async with serving(sockets, tmp_path, licensing()) as process:
        for directives, says in (
            (None, "there is none"),
            ({"usp_license_key": (issued("vod"),)}, "does not include the feature live"),
        ):
            answer = await process.ask("Streams(main)", SMOOTH, directives=directives)
            assert (answer.status, answer.result) == (403, "FMP4_NO_LICENSE")
            assert answer.text.startswith("live ingest needs a license key:")
            assert says in answer.text
        given = {"usp_license_key": (issued("live"),)}
        assert (await process.ask("Streams(main)", SMOOTH, directives=given)).status == 200


async def test_an_encoder_that_goes_away_ends_nothing(
    process: Process, point: Path, sockets: Path
) -> None:
    """And what it has sent last is there: all that arrived counts."""
    whole = SMOOTH[: SMOOTH.rindex(b"moof") - 4]
    with capture_logs() as logged:
        await killed(process, sockets, whole + SMOOTH[len(whole) : len(whole) + 500])
        await eventually(
            lambda: any(one["event"] == "encoder disconnected" for one in logged), "its line"
        )
    assert fragments(point) == whole.count(b"moof")
    (line,) = [one for one in logged if one["event"] == "encoder disconnected"]
    assert (line["log_level"], line["reason"]) == ("info", "the connection is gone")
    assert not [one for one in logged if one["log_level"] in ("warning", "error")]
    with opened(point) as index:
        assert state_of(index).state == "started"
        assert [one.state for one in connections_of(index)] == ["broken"]
    assert (await process.ask("Streams(main)", SMOOTH)).status == 200
    with opened(point) as index:
        assert all(track.gaps == 0 for track in tracks_of(index))


async def killed(process: Process, sockets: Path, data: bytes) -> None:
    """An encoder that connects, sends ``data`` in one chunk and is gone."""
    import base64

    from sidecar.rpc import origin_pb2
    from sidecar.service.passed import HEADER

    plan = origin_pb2.PlanRequest(
        document_root=str(process.root), path="/ch.isml", virtual_path="Streams(main)"
    )
    header = base64.b64encode(plan.SerializeToString()).decode()
    with socket.socket(socket.AF_UNIX) as raw:
        raw.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(raw, str(sockets / "ingest-0.sock"))
        head = f"POST / HTTP/1.1\r\nHost: x\r\n{HEADER}: {header}\r\nTransfer-Encoding: chunked\r\n"
        await loop.sock_sendall(raw, f"{head}\r\n".encode())
        await eventually(lambda: process.counted("streams") == 1, "a connection")
        await loop.sock_sendall(raw, f"{len(data):x}\r\n".encode() + data)


async def test_a_connection_for_each_segment(process: Process, point: Path) -> None:
    """As encoders of CMAF do: the header in one request, fragments in others."""
    data = stream("cmaf")
    moofs = [at - 4 for at in range(len(data)) if data.startswith(b"moof", at)]
    end = data.rindex(b"mfra") - 4
    ends = [*moofs[1:], end]
    parts = [data[: moofs[0]], *(data[a:b] for a, b in zip(moofs, ends, strict=True))]
    for part in parts:
        assert (await process.ask("Streams(v.cmfv)", part, method="PUT")).status == 200
    with opened(point) as index:
        assert state_of(index).state == "started"
        tracks = tracks_of(index)
    assert sum(track.fragments for track in tracks) >= len(moofs)
    assert all(track.gaps == 0 for track in tracks)


@pytest.mark.parametrize("what", ["free", "moov", "samples"])
async def test_others_go_on_while_much_is_parsed(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, _, rest = SMOOTH.partition(b"moof")
    data = {
        "free": box(b"free") * (1 << 15),
        "moov": head[:-4] * 64,
        "samples": head + b"moof" + rest,
    }[what]
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    # On a machine on which whatever is done takes a second.
    monkeypatch.setattr("sidecar.service.ingest.monotonic_ns", count(step=10**9).__next__)
    found: deque[Incoming] = deque()
    task = asyncio.create_task(others())
    await parse(StreamParser(), data, found)
    task.cancel()
    assert turns >= len(data) // (16 << 10)
    expected = list(StreamParser().feed(data))
    assert [type(one) for one in found] == [type(one) for one in expected]
    assert [getattr(one, "data", b"") for one in found] == [
        getattr(one, "data", b"") for one in expected
    ]


async def test_what_came_before_a_mistake_is_found() -> None:
    found: deque[Incoming] = deque()
    with pytest.raises(InvalidMedia):
        await parse(StreamParser(), SMOOTH + bytes(16), found)
    assert len(found) == len(list(StreamParser().feed(SMOOTH)))


async def test_a_disk_that_fails_for_a_while(
    process: Process, point: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sidecar.live import archive

    write, failures = archive.write_at, 3

    def failing(*given: object) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise OSError(28, "No space left on device")
        write(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(archive, "write_at", failing)
    monkeypatch.setattr("sidecar.service.ingest._RETRY", 0.01)
    assert (await process.ask("Streams(main)", SMOOTH)).status == 200
    with opened(point) as index:
        assert all(track.gaps == 0 and track.fragments > 1 for track in tracks_of(index))
    assert failures == 0


async def test_a_disk_that_stays_full(
    process: Process, point: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sidecar.live.archive.write_at", full)
    monkeypatch.setattr("sidecar.service.ingest._RETRY", 0.001)
    answer = await process.ask("Streams(main)", SMOOTH)
    assert (answer.status, answer.result) == (507, "FMP4_STORAGE_ERROR")
    assert str(point.parent) not in answer.text


async def test_a_point_that_fails_says_so_once(
    process: Process, point: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = 5
    said: list[str] = []
    over = asyncio.Event()

    def maintain(_: Point, now_ns: int) -> Report:
        nonlocal left
        left -= 1
        if left >= 0:
            reason = "the disk is full" if left else "another reason"
            raise StorageError(reason, path="ch.db3")
        return Report()

    def note(event: str, **_: object) -> None:
        said.append(event)
        if "again" in event:
            over.set()

    monkeypatch.setattr(Point, "maintain", maintain)
    monkeypatch.setattr("sidecar.service.points.log", SimpleNamespace(info=note, error=note))
    monkeypatch.setattr("sidecar.service.points._ROUND", 0.001)
    assert (await process.ask("", b"")).status == 200
    task = asyncio.create_task(process.points.maintain())
    await asyncio.wait_for(over.wait(), 30)
    task.cancel()
    fails = "a publishing point fails"
    assert said == [fails, fails, "a publishing point works again"]


async def test_a_stop_finishes_what_has_arrived(sockets: Path, tmp_path: Path, point: Path) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield SMOOTH[: SMOOTH.rindex(b"moof") - 4]
        await asyncio.sleep(30)

    async with serving(sockets, tmp_path) as process:
        sending = asyncio.create_task(process.ask("Streams(main)", body()))
        await eventually(lambda: process.counted("bytes_total") > 0, "bytes")
        await process.server.stop(5)
        answer = await sending
        assert (answer.status, answer.result) == (503, "FMP4_UNAVAILABLE")
        assert not (sockets / "ingest-0.sock").exists()
    assert fragments(point) == SMOOTH.count(b"moof") - 1
    with opened(point) as index:
        assert all(file.closed for file in index.files())


async def test_a_point_that_is_deleted_takes_no_more(process: Process, point: Path) -> None:
    go_on = asyncio.Event()
    body = in_two(SMOOTH[:CUT], SMOOTH[CUT:], go_on)
    sending = asyncio.create_task(process.ask("Streams(main)", body))
    await eventually(lambda: process.counted("fragments_total", outcome="added") > 0, "fragments")
    point.unlink()
    go_on.set()
    assert (await sending).status == 404


async def test_a_point_whose_files_were_removed_begins_anew(process: Process, point: Path) -> None:
    """By hand, as an operator does who wants a channel to be as new."""
    assert (await process.ask("Streams(main)", SMOOTH)).status == 200
    before = fragments(point)
    assert (await process.ask("Streams(main)", SMOOTH)).status == 409
    for file in point.parent.glob("ch*"):
        file.unlink()
    assert (await process.ask("Streams(main)", SMOOTH, directives=CREATE)).status == 200
    assert fragments(point) == before
    assert len(list(point.parent.glob("ch-main-*.mp4"))) == 1


async def test_its_socket_is_for_nginx_alone(process: Process, sockets: Path) -> None:
    mode = (sockets / "ingest-0.sock").stat().st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o660
    for given in ("", "%%%", "aGVsbG8="):
        async with process.session.post("http://x/", headers={"X-Origin-Request": given}) as reply:
            assert reply.status in (400, 404)
