"""Bytes of files on other servers: what clients get, what the storage is asked, what logs say."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.rpc import origin_pb2 as pb
from tests.support.fake_sidecar import FakeStack, fake_stack, source_of
from tests.support.http import Client
from tests.support.media import ROOT
from tests.support.ports import free_port
from tests.support.remote_http import Fault, Storage, entity_tag, serve
from tests.support.remote_tls import make_authority
from tests.support.stack import eventually
from tests.support.tls import listen

SLICE = 1 << 20
SIZE = 5_500_000
CONTENT = os.urandom(SIZE)
SECRET = "X-Amz-Signature=5ec2e7"


def quick(conf: str) -> str:
    """A storage that says nothing is given up after a second."""
    assert conf.count("proxy_read_timeout    10s;") == 1
    return conf.replace("proxy_read_timeout    10s;", "proxy_read_timeout    1s;")


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    with serve(tmp_path_factory.mktemp("storage")) as running:
        yield running


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeStack]:
    with fake_stack(tmp_path_factory.mktemp("remote"), edit=quick, workers=2) as running:
        yield running


@pytest.fixture
def client(origin: FakeStack, storage: Storage) -> Iterator[Client]:
    """One whose origin and storage have nothing yet, but for the file."""
    film = storage.folder / "film.mp4"
    film.unlink(missing_ok=True)
    film.write_bytes(CONTENT)
    # an identity of its own
    os.utime(film, (time.time(), 1_600_000_000 + next(_TIMES)))
    storage.forget()
    origin.sidecar.calls.clear()
    os.truncate(origin.root / "logs" / "error.log", 0)
    client = origin.client()
    yield client
    shutil.rmtree(origin.media, ignore_errors=True)
    origin.media.mkdir()


@pytest.fixture
def target() -> str:
    """A segment that nobody has asked for."""
    return f"/film{next(_TIMES)}.ism/hls/t-1.m4s"


_TIMES = iter(range(1 << 30))


def source(storage: Storage, **remote: Any) -> pb.Source:
    """The storage's film as the sidecar would report it now."""
    found = (storage.folder / "film.mp4").stat()
    fields = {
        "url": f"{storage.url('/film.mp4')}?{SECRET}",
        "host": f"{storage.base.partition('://')[2]}",
        "address": f"127.0.0.1:{storage.port}",
        "etag": entity_tag(found),
    }
    return pb.Source(
        path=storage.url("/film.mp4"),
        size=found.st_size,
        mtime_ns=int(found.st_mtime) * 1_000_000_000,
        remote=pb.Remote(**(fields | remote)),
    )


def plan_of(sources: list[pb.Source], parts: list[pb.Part], **fields: Any) -> pb.Plan:
    length = sum(len(part.inline) + sum(part.file.length) for part in parts)
    fields = {"etag": '"plan"', "ttl_ms": 60_000} | fields
    return pb.Plan(
        status=200, content_type="video/mp4", cache_class=pb.CACHE_MEDIA, sources=sources,
        parts=parts, length=length, **fields,
    )  # fmt: skip


def film(storage: Storage, listed: list[tuple[int, int]], **remote: Any) -> pb.Plan:
    """A head, and then ranges of the film."""
    offset, length = zip(*listed, strict=True)
    ranges = pb.FileRanges(source=0, offset=offset, length=length)
    parts = [pb.Part(inline=b"head"), pb.Part(file=ranges)]
    return plan_of([source(storage, **remote)], parts)


def answer(origin: FakeStack, plan: pb.Plan) -> None:
    origin.sidecar.answer = lambda request, context: pb.PlanReply(plan=plan)


def body_of(listed: list[tuple[int, int]]) -> bytes:
    return b"head" + b"".join(CONTENT[at : at + size] for at, size in listed)


# All but the last 100 KB, with gaps, over all slices.
LISTED = [(at, 12_000) for at in range(0, SIZE - 100_000, 12_350)]


def test_a_body_comes_in_whole_and_in_parts_and_is_fetched_once(
    origin: FakeStack, storage: Storage, client: Client, target: str
) -> None:
    answer(origin, film(storage, LISTED))
    body = body_of(LISTED)
    assert client.request(target, method="HEAD").headers["content-length"] == str(len(body))
    same = client.request(target, headers={"If-None-Match": '"plan"'})
    assert (same.status, same.body) == (304, b"")
    assert client.request(target, headers={"Range": f"bytes={SIZE}-"}).status == 416
    assert storage.asked() == [], "nothing of that takes a byte of the film"

    begin, end = 2_200_000, 2_200_010
    part = client.request(target, headers={"Range": f"bytes={begin}-{end - 1}"})
    assert (part.status, part.body) == (206, body[begin:end])
    assert len(storage.asked()) == 1, "one slice"
    for _ in range(3):
        assert client.get(target).body == body
    several = client.request(target, headers={"Range": "bytes=0-9,1000000-4500000,-7"})
    assert several.status == 206
    assert int(several.headers["content-length"]) == len(several.body)
    assert body[1_000_000:4_500_001] in several.body

    asked = storage.asked()
    ranges = sorted(one.headers["range"] for one in asked)
    starts = range(0, SIZE, SLICE)
    assert ranges == sorted(f"bytes={at}-{min(at + SLICE, SIZE) - 1}" for at in starts)
    for one in asked:
        assert one.method == "GET"
        assert one.target == f"/film.mp4?{SECRET}"
        assert one.headers["host"] == f"127.0.0.1:{storage.port}"
        assert one.headers["if-match"] == entity_tag((storage.folder / "film.mp4").stat())
        assert one.headers.keys() == {"host", "range", "if-match"}, "nothing of ours"
    assert len(origin.sidecar.calls) == 1
    assert not origin.complaints()


def test_pieces_of_many_places_make_one_body(
    origin: FakeStack, storage: Storage, client: Client, target: str
) -> None:
    """Two files of the storage, one of ours, bytes of the plan: back and forth between slices."""
    (storage.folder / "other.mp4").write_bytes(CONTENT[::-1])
    other = source(storage)
    other.path = storage.url("/other.mp4")
    other.remote.url = other.path
    other.remote.etag = entity_tag((storage.folder / "other.mp4").stat())
    local = origin.media / "local.mp4"
    local.write_bytes(CONTENT[:70_000])
    rows: list[tuple[int, int, int]] = []
    for n in range(60):
        rows += [(0, (n % 6) * 900_000 + n * 1000, 700), (1, (n % 5) * 900_000 + n * 900, 800)]
        rows += [(0, n * 90_000, 40_000), (1, 5_000_000 - n * 80_000, 500), (2, n * 1_000, 999)]
        rows += [(2**64 - 1, n % 4, 3)]
    inline = b"abcdefg"
    which, offset, length = zip(*rows, strict=True)
    ranges = pb.FileRanges(sources=which, offset=offset, length=length, inline=inline)
    sources = [source(storage), other, source_of(local)]
    answer(origin, plan_of(sources, [pb.Part(file=ranges)]))
    contents = [CONTENT, CONTENT[::-1], CONTENT[:70_000]]
    body = b"".join(
        (inline if file > 2 else contents[file])[at : at + size] for file, at, size in rows
    )
    for _ in range(3):
        assert client.get(target).body == body
    for path in ("/film.mp4", "/other.mp4"):
        fetched = [one.headers["range"] for one in storage.asked(path)]
        assert 5 <= len(fetched) == len(set(fetched)), "each slice once"
    # of the files of ours, any change counts at once
    local.write_bytes(CONTENT[1:70_001])
    client.request(target)
    assert len(origin.sidecar.calls) > 1


def test_who_reads_on_finds_the_next_slice_there(
    origin: FakeStack, storage: Storage, client: Client, target: str
) -> None:
    """Others have what they ask for fetched and no more."""

    def part(number: int, track: str = "t") -> None:
        answer(origin, film(storage, [(number * SLICE, 10)]))
        found = client.get(target.replace("t-1", f"{track}-{number}"))
        assert found.body == body_of([(number * SLICE, 10)])

    def fetched() -> list[int]:
        return sorted(one.range[0] // SLICE for one in storage.asked() if one.range)

    part(0)
    part(4)
    part(2)
    assert fetched() == [0, 2, 4], "who jumps"
    part(1)
    part(3)
    eventually(lambda: fetched() == [0, 1, 2, 3, 4], "what was there is not fetched again")
    with storage.fault("*", Fault(latency=0.05)):
        storage.forget()
        (storage.folder / "film.mp4").touch()
        for number in range(3):
            part(number, "u")
            eventually(lambda n=number: fetched() == list(range(n + 2 if n else 1)), "one more")


def test_headers_of_a_signature_go_to_the_storage(
    origin: FakeStack, storage: Storage, client: Client, target: str
) -> None:
    headers = [
        pb.Header(name="Authorization", value="AWS4-HMAC-SHA256 Credential=a/b, Signature=c"),
        pb.Header(name="x-amz-security-token", value="t" * 6000),
    ]
    listed = [(0, 1000)]
    answer(origin, film(storage, listed, headers=headers))
    assert client.get(target).body == body_of(listed)
    (asked,) = storage.asked()
    assert asked.headers["authorization"] == headers[0].value
    assert asked.headers["x-amz-security-token"] == headers[1].value


def test_however_many_come_at_once_a_slice_is_fetched_once(
    origin: FakeStack, storage: Storage, client: Client, target: str
) -> None:
    listed = [(0, 3 * SLICE)]
    plan = film(storage, listed)
    go_on = threading.Event()

    def wait(request: pb.PlanRequest, context: Any) -> pb.PlanReply:
        go_on.wait(60)
        return pb.PlanReply(plan=plan)

    origin.sidecar.answer = wait
    with storage.fault("*", Fault(latency=0.2)):
        responses = origin.at_once([target] * 40, go_on)
    assert {response.status for response in responses} == {200}
    assert all(response.body == body_of(listed) for response in responses)
    assert len(storage.asked()) == 3
    assert not origin.complaints()


def test_what_was_fetched_is_served_while_the_storage_is_away(
    origin: FakeStack, storage: Storage, client: Client, target: str
) -> None:
    listed = [(0, 2 * SLICE)]
    answer(origin, film(storage, listed))
    first = client.get(target)
    storage.down()
    try:
        assert client.get(target).body == first.body == body_of(listed)
        answer(origin, film(storage, [(3 * SLICE, 10)]))
        assert client.request(target.replace("t-1", "t-2")).status == 502
    finally:
        storage.up()
    assert client.get(target.replace("t-1", "t-2")).body == body_of([(3 * SLICE, 10)])


@pytest.mark.parametrize(
    ("fault", "status", "result", "plans"),
    [
        (Fault(status=404), 404, "FMP4_NOT_FOUND", 2),
        (Fault(status=403), 403, "FMP4_FORBIDDEN", 2),
        (Fault(status=500), 502, "FMP4_STORAGE_ERROR", 1),
        (Fault(status=408), 504, "FMP4_STORAGE_TIMEOUT", 1),
        (Fault(status=504), 504, "FMP4_STORAGE_TIMEOUT", 1),
        (Fault(location="http://127.0.0.1:1/"), 502, "FMP4_STORAGE_ERROR", 1),
        (Fault(hangs=True), 504, "FMP4_STORAGE_TIMEOUT", 1),
        (Fault(cut_after=500_000), 502, "FMP4_STORAGE_ERROR", 1),
        (Fault(is_whole=True), 502, "FMP4_STORAGE_ERROR", 1),
        (Fault(shifted=100), 502, "FMP4_STORAGE_ERROR", 2),
        (Fault(no_etag=True), 502, "FMP4_STORAGE_ERROR", 2),
    ],
    ids=lambda value: (
        re.sub(r"Fault\(|\)$|\w+=(0(\.0)?|''|None|False|\(\))(, )?", "", repr(value))
        if isinstance(value, Fault)
        else ""
    ),
)
def test_a_storage_that_fails_has_a_status_and_a_line(
    origin: FakeStack,
    storage: Storage,
    client: Client,
    target: str,
    fault: Fault,
    status: int,
    result: str,
    plans: int,
) -> None:
    listed = [(10, 2 * SLICE)]
    answer(origin, film(storage, listed))
    with storage.fault("*", fault):
        response = client.request(target)
    assert response.status == status
    assert re.fullmatch(r"[A-Z][^/\n]*\.\n", response.text)
    assert len(origin.sidecar.calls) == plans
    assert [call.recheck for call in origin.sidecar.calls] == [0, 1][:plans]
    (line,) = origin.complaints()
    assert f"{storage.url('/film.mp4')}, slice " in line
    assert re.search(r"request_id: [0-9a-f]{32}", line)
    (logged,) = origin.access_log(target)
    assert f" {result} - " in logged
    for log in (origin.root / "logs").iterdir():
        assert SECRET not in log.read_text(errors="replace")
    # nothing of that is kept; who comes at once may share what still fails
    eventually(lambda: client.request(target).body == body_of(listed), "the content")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_storage_that_fails_for_a_moment_is_asked_once_more(
    origin: FakeStack, storage: Storage, client: Client, target: str, status: int
) -> None:
    listed = [(0, 10)]
    answer(origin, film(storage, listed))
    with storage.fault("*", Fault(status=status, times=1)):
        assert client.get(target).body == body_of(listed)
    assert [one.status for one in storage.asked()] == [status, 206]
    assert not origin.complaints()


def test_a_file_that_was_replaced_is_planned_anew(
    origin: FakeStack, storage: Storage, client: Client, target: str
) -> None:
    listed = [(0, 2 * SLICE)]
    old = film(storage, listed)

    def replanned(request: pb.PlanRequest, context: Any) -> pb.PlanReply:
        return pb.PlanReply(plan=film(storage, listed) if request.recheck else old)

    origin.sidecar.answer = replanned
    assert client.request(target, headers={"Range": "bytes=0-9"}).body == body_of(listed)[:10]
    new = CONTENT[::-1]
    (storage.folder / "film.new").write_bytes(new)
    (storage.folder / "film.new").rename(storage.folder / "film.mp4")
    response = client.get(target)
    assert response.body == b"head" + new[: 2 * SLICE], "and nothing of the first"
    assert [call.recheck for call in origin.sidecar.calls] == [0, 1]
    assert not origin.complaints()


def test_without_an_entity_tag_the_date_tells_versions_apart(
    origin: FakeStack, storage: Storage, client: Client, target: str
) -> None:
    listed = [(0, 100)]
    with storage.fault("*", Fault(no_etag=True)):
        plan = film(storage, listed, etag="")
        answer(origin, plan)
        assert client.get(target).body == body_of(listed)
        (asked,) = storage.asked()
        assert "if-unmodified-since" in asked.headers
        assert "if-match" not in asked.headers
        plan.sources[0].mtime_ns += 1_000_000_000
        answer(origin, plan)
        assert client.request(target.replace("t-1", "t-2")).status == 502


def test_a_signature_that_ends_is_asked_for_anew(
    origin: FakeStack, storage: Storage, client: Client, target: str
) -> None:
    listed = [(0, 10 * 100)]
    now_ms = int(time.time() * 1000)

    def signed(request: pb.PlanRequest, context: Any) -> pb.PlanReply:
        number = len(origin.sidecar.calls)
        ends = now_ms + (1000 if number == 1 else 3_600_000)
        url = f"{storage.url('/film.mp4')}?signature={number}"
        return pb.PlanReply(plan=film(storage, listed, url=url, expires_ms=ends))

    origin.sidecar.answer = signed
    assert client.get(target).body == body_of(listed)
    (asked,) = storage.asked()
    assert asked.target == "/film.mp4?signature=2"
    assert len(origin.sidecar.calls) == 2


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_body_that_fails_on_its_way_is_cut(
    origin: FakeStack, storage: Storage, client: Client, target: str, version: str
) -> None:
    """A download of many slices, the last of which cannot be had."""
    big = storage.folder / "film.mp4"
    with big.open("r+b") as file:
        file.truncate(20 * SLICE)
    answer(origin, film(storage, [(0, 20 * SLICE)]))
    with (
        storage.fault("*", Fault(status=404, from_byte=15 * SLICE)),
        socket.create_connection(("127.0.0.1", origin.port)) as raw,
    ):
        raw.settimeout(60)
        raw.sendall(f"GET {target} HTTP/{version}\r\nHost: x\r\n\r\n".encode())
        got = bytearray()
        while data := raw.recv(1 << 20):
            got += data
    head, _, body = bytes(got).partition(b"\r\n\r\n")
    assert b" 200 " in head
    assert f"content-length: {20 * SLICE + 4}".encode() in head.lower()
    assert 0 < len(body) < 15 * SLICE + 5
    (line,) = origin.complaints()
    assert "the storage answers 404" in line


@pytest.mark.skipif(shutil.which("curl") is None, reason="not installed: curl")
def test_a_body_that_fails_on_its_way_over_http_2_is_no_whole_one(
    tmp_path: Path, storage: Storage
) -> None:
    with (storage.folder / "film.mp4").open("wb") as file:
        file.truncate(20 * SLICE)
    root, port = tmp_path / "origin", free_port()
    root.mkdir()
    lines = listen(root, port)
    with fake_stack(
        root, edit=lambda conf: conf.replace("        root media;\n", f"root media;\n{lines}")
    ) as stack:
        answer(stack, film(storage, [(0, 20 * SLICE)]))
        url = f"https://127.0.0.1:{port}/film.ism/hls/t-1.m4s"
        got = tmp_path / "got"
        curl = ["curl", "-sk", "--http2", "-o", str(got), "-w", "%{http_code} %{http_version}"]
        with storage.fault("*", Fault(status=503, from_byte=15 * SLICE)):
            failed = subprocess.run([*curl, url], capture_output=True, text=True, check=False)
        assert failed.stdout == "200 2"
        assert failed.returncode != 0
        assert 0 < got.stat().st_size < 15 * SLICE + 5
        whole = subprocess.run([*curl, url], capture_output=True, text=True, check=True)
        assert whole.stdout == "200 2"
        assert got.stat().st_size == 20 * SLICE + 4


def test_who_goes_away_takes_nothing_with_him(
    origin: FakeStack, storage: Storage, client: Client, target: str
) -> None:
    """What a client has begun to have fetched is fetched for the next one."""
    listed = [(0, SLICE)]
    answer(origin, film(storage, listed))
    go_on = threading.Event()
    with storage.fault("*", Fault(before=lambda asked: go_on.wait(60) and None)):
        with socket.create_connection(("127.0.0.1", origin.port)) as raw:
            raw.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            eventually(lambda: len(storage.asked()) == 1, "the slice is asked for")
        client.send(target)
        go_on.set()
        assert client.receive().body == body_of(listed)
    assert len(storage.asked()) == 1


def test_nginx_hears_of_slices_that_are_in_use(tmp_path: Path, storage: Storage) -> None:
    """It does not see Lua read them, and would drop the oldest ones first."""
    (storage.folder / "film.mp4").write_bytes(CONTENT)
    root = tmp_path / "origin"
    shutil.copytree(ROOT / "lua", root / "changed")
    module = root / "changed" / "origin" / "remote" / "body.lua"
    text = module.read_text()
    assert text.count("TOUCH_SECONDS, MAX_TOUCHED = 600,") == 1
    module.write_text(text.replace("MAX_TOUCHED = 600,", "MAX_TOUCHED = 0,"))

    def edit(conf: str) -> str:
        quiet = "access_log off;\n\n        # nginx logs URLs"
        assert conf.count(quiet) == 1
        conf = conf.replace(quiet, quiet.replace("off", "logs/fetch.log"))
        return conf.replace("$prefix/lua/", "$prefix/changed/")

    with fake_stack(root, edit=edit) as stack:
        storage.forget()
        answer(stack, film(storage, [(0, 10)]))
        client = stack.client()
        log = stack.root / "logs" / "fetch.log"
        for number in (1, 2):
            assert client.get("/film.ism/hls/t-1.m4s").body == body_of([(0, 10)])
            eventually(lambda n=number: len(log.read_text().splitlines()) == n, "it hears")
    assert len(storage.asked()) == 1, "and answers by itself"


def test_a_download_outlives_a_reload(storage: Storage, tmp_path: Path) -> None:
    """Workers that are to end send what they have begun to send, and fetch what that takes."""
    size = 40 * SLICE
    with (storage.folder / "film.mp4").open("wb") as file:
        file.truncate(size)
    (tmp_path / "origin").mkdir()
    storage.forget()
    with fake_stack(tmp_path / "origin") as stack:
        answer(stack, film(storage, [(0, size)]))
        old = stack.workers
        with socket.create_connection(("127.0.0.1", stack.port)) as raw:
            raw.settimeout(60)
            raw.sendall(b"GET /film.ism/hls/t-1.m4s HTTP/1.0\r\n\r\n")
            got = len(raw.recv(1000))
            stack.process.send_signal(signal.SIGHUP)
            eventually(lambda: len(set(stack.workers) - set(old)) == 1, "a new worker")
            assert len(storage.asked()) < 40
            while data := raw.recv(1 << 20):
                got += len(data)
        assert got > size
        assert not [line for line in stack.complaints() if "[error]" in line]


def resident(pid: int) -> int:
    """Anonymous memory of a process, KB."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+)", status)
    assert found
    return int(found[1])


def test_clients_that_do_not_read_cost_no_memory(
    origin: FakeStack, storage: Storage, client: Client, target: str
) -> None:
    size = 64 * SLICE
    with (storage.folder / "film.mp4").open("r+b") as file:
        file.truncate(size)
    answer(origin, film(storage, [(0, size)]))
    client.request(target, headers={"Range": "bytes=0-10"})
    before = sum(map(resident, origin.workers))
    clients = [socket.create_connection(("127.0.0.1", origin.port)) for _ in range(10)]
    for raw in clients:
        raw.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        raw.recv(1)
    eventually(lambda: len(storage.asked()) >= 16, "two windows")
    time.sleep(0.5)
    assert len(storage.asked()) < 40, "nobody reads, so nothing more is fetched"
    assert sum(map(resident, origin.workers)) - before < 25_000
    for raw in clients:
        raw.close()


def test_certificates_are_verified(
    tmp_path: Path, origin: FakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted = make_authority(tmp_path / "trusted", "media.test")
    foreign = make_authority(tmp_path / "foreign", "media.test")
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted.root))
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "film.mp4").write_bytes(CONTENT)
    (tmp_path / "origin").mkdir()
    with (
        fake_stack(tmp_path / "origin") as stack,
        serve(tmp_path / "media", authority=trusted, host="media.test") as good,
        serve(tmp_path / "media", authority=foreign, host="media.test") as bad,
    ):
        client = stack.client()
        listed = [(0, 2 * SLICE)]
        for number in (0, 4):  # the second over a connection that was kept
            answer(stack, film(good, [(number * SLICE, 10)]))
            target = f"/film.ism/hls/t-{number}.m4s"
            assert client.get(target).body == body_of([(number * SLICE, 10)])
        answer(stack, film(bad, listed))
        assert client.request("/film.ism/hls/t-3.m4s").status == 502
        assert bad.asked() == [], "no signature goes to whoever that is"
        # the right authority, another name
        answer(stack, film(good, [(2 * SLICE, 10)], host=f"other.test:{good.port}"))
        assert client.request("/film.ism/hls/t-5.m4s").status == 502
        assert len(good.asked()) == 2
    assert ssl.get_default_verify_paths().cafile == str(trusted.root)


@pytest.mark.parametrize(
    "remote",
    [
        {"url": "file:///etc/passwd"},
        {"url": "http://a/x\r\nX-Evil: 1"},
        {"host": "a\r\nX-Evil: 1"},
        {"address": "sockets/bridge.sock:1"},
        {"address": "localhost:80"},
        {"etag": 'W/"x"'},
        {"headers": [pb.Header(name="A", value="b\r\nC: d")]},
    ],
    ids=lambda remote: next(iter(remote)),
)
def test_a_plan_that_would_lead_elsewhere_is_a_fault(
    origin: FakeStack, storage: Storage, client: Client, target: str, remote: dict[str, Any]
) -> None:
    answer(origin, film(storage, [(0, 10)], **remote))
    assert client.request(target).status == 500
    assert storage.asked() == []
