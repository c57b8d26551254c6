"""Publishing points over HTTP: what each call does, refuses, and tells."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from sidecar.formats.registry import find
from sidecar.media.server_manifest import read_server_manifest
from sidecar.mux.plan import Inline
from sidecar.service.live import PublishingPoints, Question, answer_live
from sidecar.service.reader import MediaReader
from tests.support.encoder import stream
from tests.support.ingest import CREATE, Answer, Process, in_two, serving
from tests.support.license import licensing

SMIL = "{http://www.w3.org/2001/SMIL20/Language}"
SMOOTH = stream("smooth")
ENDLESS = SMOOTH[: SMOOTH.rindex(b"mfra") - 4]
SETTINGS = (
    b'<smil><head><meta name="archiving" content="true"/>'
    b'<meta name="archive_segment_length" content="1"/></head></smil>'
)
JSON = {"Accept": "application/json"}


@asynccontextmanager
async def encoding(process: Process, data: bytes = ENDLESS) -> AsyncIterator[asyncio.Task[Answer]]:
    """An encoder that has sent ``data`` and is still connected."""
    go_on = asyncio.Event()
    before = process.counted("bytes_total")
    body = in_two(data, SMOOTH[len(data) :], go_on)
    task = asyncio.create_task(process.ask("Streams(main)", body))
    while process.counted("bytes_total") - before < len(data) or not await has_media(process):
        await asyncio.sleep(0.01)
    try:
        yield task
    finally:
        go_on.set()
        await task


async def has_media(process: Process) -> bool:
    facts = await told(process, "statistics")
    return len(facts["tracks"]) == 2 and all(one["fragments"] for one in facts["tracks"])


async def told(process: Process, name: str) -> Any:
    answer = await process.ask(name, method="GET", headers=JSON)
    assert answer.status == 200, answer.text
    assert answer.content_type == "application/json; charset=utf-8"
    return json.loads(answer.body)


async def state(process: Process) -> str:
    return str((await told(process, "state"))["state"])


async def test_a_point_is_made_read_changed_and_deleted(process: Process, tmp_path: Path) -> None:
    assert (await process.manage(method="GET")).status == 404
    made = await process.manage(method="PUT", body=SETTINGS)
    assert (made.status, made.kind) == (201, "live.api")
    point = tmp_path / "ch.isml"
    stored = await process.manage(method="GET")
    assert stored.content_type == "application/smil+xml; charset=utf-8"
    assert stored.body == point.read_bytes()
    assert b'<meta name="archiving" content="true" />' in stored.body
    for body in (b"", None):
        assert (await process.manage(method="POST", body=body)).status == 200
        assert point.read_bytes() == stored.body, "nothing is said, nothing is changed"
    assert (await process.manage(body=b"<smil/>")).status == 200
    assert b"archiving" not in point.read_bytes()
    assert (await process.manage(method="DELETE")).status == 200
    assert names(tmp_path) == ["ch.deleted"]
    assert (await process.manage(method="DELETE")).status == 404


async def test_the_tracks_that_have_come_are_told_with_the_settings(
    process: Process, tmp_path: Path
) -> None:
    await process.manage(method="PUT", body=SETTINGS)
    before = (tmp_path / "ch.isml").read_bytes()
    async with encoding(process):
        told = await process.manage(method="GET")
    found = read_server_manifest(told.body, path="ch.isml")
    assert found.options["archiving"] == "true"
    assert [(one.kind.value, one.src, one.language) for one in found.entries] == [
        ("audio", "Streams(main)", "ger"),
        ("video", "Streams(main)", None),
    ]
    assert [one.track_id for one in found.entries] == [2, 1]
    answer = await process.manage(method="GET", headers=JSON)
    assert answer.content_type == "application/json; charset=utf-8"
    facts = json.loads(answer.body)
    assert facts["settings"] == {"archiving": "true", "archive_segment_length": "1"}
    assert [(one["type"], one["src"], one["id"]) for one in facts["tracks"]] == [
        ("audio", "Streams(main)", 2),
        ("video", "Streams(main)", 1),
    ]
    # As URLs have them.
    playlist = await asyncio.to_thread(manifest_of, tmp_path)
    for one in found.entries:
        assert f'"{one.track_name}={one.bitrate}"' in playlist
    # The file is its owner's; what was read can be put back.
    assert (tmp_path / "ch.isml").read_bytes() == before
    assert (await process.manage(method="PUT", body=told.body)).status == 200


def manifest_of(root: Path) -> str:
    """The MPD of ``ch.isml``."""
    points = PublishingPoints(MediaReader())
    point = points.get(str(root), "/ch.isml")
    found = find(".mpd")
    assert found is not None
    kind, match = found
    question = Question(
        kind=kind, match=match, virtual_path=".mpd", args="", directives={}, read_ahead=0
    )
    (part,) = answer_live(point, question)[1].plan.parts
    assert isinstance(part, Inline)
    return bytes(part.data).decode()


async def test_folders_are_made_below_the_document_root_only(
    process: Process, tmp_path: Path, sockets: Path
) -> None:
    assert (await process.manage(method="PUT", path="/a/b/ch.isml")).status == 201
    assert (tmp_path / "a/b/ch.isml").read_bytes().startswith(b"<?xml")
    (tmp_path / "out").symlink_to(sockets)
    for path, status in (("/../x/ch.isml", 403), ("/out/x/ch.isml", 403), ("/a/ch.ism", 404)):
        assert (await process.manage(method="PUT", path=path)).status == status
    assert not (sockets / "x").exists() and not (tmp_path.parent / "x").exists()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<smil", "line 1 of the server manifest"),
        (b"<!DOCTYPE smil><smil/>", "document type"),
        (b'<smil><head><meta name="archiving" content="maybe"/></head></smil>', "archiving"),
        (b"<smil>" + b" " * (4 << 20) + b"</smil>", "bytes"),
    ],
)
async def test_settings_that_are_none(
    process: Process, tmp_path: Path, body: bytes, says: str
) -> None:
    answer = await process.manage(method="PUT", body=body)
    assert answer.status == 400
    assert says in answer.text
    assert not list(tmp_path.iterdir())


async def test_a_point_needs_a_license(sockets: Path, tmp_path: Path) -> None:
    async with serving(sockets, tmp_path, licensing()) as process:
        answer = await process.manage(method="PUT")
        assert (answer.status, answer.result) == (403, "FMP4_NO_LICENSE")


async def test_states(process: Process, tmp_path: Path) -> None:
    assert (await process.ask("state", method="GET")).status == 404
    await process.manage(method="PUT", body=SETTINGS)
    assert await told(process, "state") == {"state": "idle", "updated": None}
    async with encoding(process):
        facts = await told(process, "state")
        assert facts["state"] == "started"
        updated = datetime.fromisoformat(facts["updated"])
        assert abs(datetime.now(UTC) - updated) < timedelta(minutes=1)
        answer = await process.ask("state", method="GET")
        assert (answer.kind, answer.content_type) == (
            "live.state",
            "application/xml; charset=utf-8",
        )
        root = etree.fromstring(answer.body)
        metas = {one.get("name"): one.get("content") for one in root.iter(f"{SMIL}meta")}
        assert metas == facts
        assert b'<meta name="state" content="started"></meta>' in answer.body
    assert await state(process) == "stopped"


async def test_statistics_and_archive(process: Process, tmp_path: Path) -> None:
    await process.manage(method="PUT")
    async with encoding(process) as first:
        sent = await process.ask("Streams(main)", ENDLESS)
        assert sent.status == 200
        facts = await told(process, "statistics")
        assert {one["kind"] for one in facts["tracks"]} == {"video", "audio"}
        for one in facts["tracks"]:
            assert one["stream"] == "main" and one["gaps"] == 0
            assert one["fragments"] == one["duplicates"] > 0
            assert one["measured_bitrate"] > 10_000 and one["bytes"] > 1000
            assert abs(one["drift_ms"]) < 60_000
        one, other = facts["connections"]
        assert (one["state"], other["state"]) == ("open", "closed")
        assert one["encoder"] != other["encoder"]
        for taken, duplicate in zip(one["tracks"], other["tracks"], strict=True):
            assert taken["fragments"] == duplicate["duplicates"] > 0
            assert taken["duplicates"] == duplicate["fragments"] == 0
        root = etree.fromstring((await process.ask("statistics", method="GET")).body)
        assert len(root.findall(f"{SMIL}body/{SMIL}track")) == 2
        assert len(root.findall(f".//{SMIL}connection/{SMIL}track")) == 4
        ranges = (await told(process, "archive"))["tracks"]
        assert [len(one["ranges"]) for one in ranges] == [1, 1]
        start, end = (
            datetime.fromisoformat(ranges[0]["ranges"][0][key]) for key in ("start", "end")
        )
        assert timedelta(seconds=1.9) < end - start < timedelta(seconds=2.3)
        root = etree.fromstring((await process.ask("archive", method="GET")).body)
        assert [one.get("src") for one in root.iter(f"{SMIL}video", f"{SMIL}audio")] == ["main"] * 2
        assert {one.get("start") for one in root.iter(f"{SMIL}c")} == {
            one["ranges"][0]["start"] for one in ranges
        }
    assert first.result().status == 200


async def test_a_connected_encoder_keeps_a_point_from_being_deleted(
    process: Process, tmp_path: Path
) -> None:
    await process.manage(method="PUT")
    async with encoding(process) as encoder:
        refused = await process.manage(method="DELETE")
        assert (refused.status, refused.result) == (409, "FMP4_CONFLICT")
        assert "?force" in refused.text
        whole = await process.manage("purge")
        assert (whole.status, whole.result) == (409, "FMP4_CONFLICT")
        assert (await process.manage(method="DELETE", args="force")).status == 200
        assert names(tmp_path) == ["ch.deleted"]
    assert encoder.result().status == 404
    assert names(tmp_path) == ["ch.deleted"]
    assert (await process.ask("state", method="GET")).status == 404


async def test_what_was_deleted_is_not_made_again_by_encoders(
    process: Process, tmp_path: Path
) -> None:
    await process.manage(method="PUT", body=SETTINGS)
    await process.manage(method="DELETE")
    for virtual_path in ("", "Streams(main)"):
        again = await process.ask(virtual_path, SMOOTH, directives=CREATE)
        assert again.status in (400, 404)
        assert virtual_path == "" or "was deleted" in again.text
    assert names(tmp_path) == ["ch.deleted"]
    assert (await process.manage(method="PUT", body=SETTINGS)).status == 201
    assert names(tmp_path) == ["ch.isml"]
    assert (await process.ask("Streams(main)", SMOOTH, directives=CREATE)).status == 200
    # Whoever removes all files of it has encoders make it, too.
    for file in tmp_path.glob("ch*"):
        file.unlink()
    assert (await process.ask("Streams(main)", SMOOTH, directives=CREATE)).status == 200


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


async def test_names_that_are_too_long(process: Process, tmp_path: Path) -> None:
    for path in (f"/{'n' * 300}.isml", f"/{'n' * 100}.isml", f"/{'n' * 300}/ch.isml"):
        made = await process.manage(method="PUT", path=path)
        sent = await process.ask("Streams(main)", SMOOTH, path=path, directives=CREATE)
        assert (made.status, sent.status) == (400, 400), path
    assert not list(tmp_path.iterdir())


async def test_a_stop_and_a_start(process: Process, tmp_path: Path) -> None:
    await process.manage(method="PUT")
    async with encoding(process, SMOOTH[: len(SMOOTH) * 2 // 3]) as encoder:
        assert (await process.manage("stop")).text == "the publishing point is stopped\n"
        assert await state(process) == "stopped"
    assert encoder.result().status == 409
    assert (await process.manage("start")).status == 200
    assert await state(process) == "started"
    assert (await process.ask("Streams(main)", SMOOTH)).status == 200
    assert [one["gaps"] for one in (await told(process, "statistics"))["tracks"]] == [0, 0]


async def test_purges(process: Process, tmp_path: Path) -> None:
    await process.manage(method="PUT", body=SETTINGS)
    assert (await process.ask("Streams(main)", SMOOTH)).status == 200
    (video, _) = (await told(process, "archive"))["tracks"]
    begin = datetime.fromisoformat(video["ranges"][0]["start"])
    late = await process.manage("purge", args="t=soon")
    assert late.status == 400 and late.text.startswith("t must be seconds")
    assert (await process.manage("purge", args="t=0")).text.endswith(": 0\n")
    for args in ("&".join(f"a{number}=1" for number in range(30)), "t=3600"):
        assert (await process.manage("purge", args=args)).status == 400
    assert (await told(process, "archive"))["tracks"][0]["ranges"] == video["ranges"]
    moment = (begin + timedelta(seconds=1.7)).isoformat(timespec="milliseconds")
    purged = await process.manage("purge", args=f"t={moment.replace('+00:00', 'Z')}")
    assert purged.text == "archive files that are removed: 1\n"
    (video, _) = (await told(process, "archive"))["tracks"]
    left = datetime.fromisoformat(video["ranges"][0]["start"])
    assert timedelta(seconds=0.7) < left - begin < timedelta(seconds=1.7)
    assert (await process.manage("purge")).text == "all media are removed\n"
    assert await state(process) == "idle"
    assert (await process.ask("Streams(main)", SMOOTH)).status == 200


async def test_another_event(process: Process, tmp_path: Path) -> None:
    await process.manage(method="PUT", body=SETTINGS)
    for args, status in (("", 400), ("id=a%20b", 400), ("id=final", 200)):
        assert (await process.manage("event", args=args)).status == status, args
    assert b'<meta name="event_id" content="final" />' in (tmp_path / "ch.isml").read_bytes()
    assert b"archive_segment_length" in (tmp_path / "ch.isml").read_bytes()
    assert (await process.ask("Events(semi)/Streams(main)", SMOOTH)).status == 409
    assert (await process.ask("Events(final)/Streams(main)", SMOOTH)).status == 200
    assert (await process.manage("event", args="id=")).status == 200
    assert b"event_id" not in (tmp_path / "ch.isml").read_bytes()


async def test_settings_hold_for_encoders_that_are_connected(
    process: Process, tmp_path: Path
) -> None:
    await process.manage(method="PUT")
    async with encoding(process, SMOOTH[: len(SMOOTH) // 2]):
        await process.manage(method="PUT", body=SETTINGS)
    assert len(list(tmp_path.glob("ch-main-*.mp4"))) > 1, "a file for each second"
