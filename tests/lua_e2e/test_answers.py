"""What clients get: bodies, failures of the sidecar, results, and how much memory that takes."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import grpc
import pytest

from sidecar.rpc import origin_pb2 as pb
from tests.support.fake_sidecar import (
    FakeStack,
    command,
    fake_stack,
    inline,
    prepare,
    ranges,
    refusal,
    source_of,
)
from tests.support.http import Client
from tests.support.stack import eventually

# Less than any time-out of the configuration that would show (10 s), on a loaded machine too.
AT_ONCE = 8.0
SENTENCE = re.compile(r"[A-Z][^/\n]*\.\n")


@pytest.fixture
def client(stack: FakeStack) -> Iterator[Client]:
    stack.sidecar.calls.clear()
    os.truncate(stack.root / "logs" / "error.log", 0)
    return stack.client()


def plan(stack: FakeStack, made: pb.Plan) -> None:
    stack.sidecar.answer = lambda request, context: pb.PlanReply(plan=made)


def media(stack: FakeStack, name: str, size: int) -> Path:
    path = stack.media / name
    path.write_bytes(os.urandom(1 << 20) * (size >> 20) + os.urandom(size & 0xFFFFF))
    return path


def test_a_large_body_arrives_again_and_again(stack: FakeStack, client: Client) -> None:
    """Read from the file, read and kept, from memory: all the same bytes."""
    path = media(stack, "large.mp4", 2_500_000)
    content = path.read_bytes()
    listed = [(at, 12_000) for at in range(0, 2_400_000, 12_350)]
    plan(stack, ranges(path, listed, head=b"head" * 700, etag='"e"'))
    body = b"head" * 700 + b"".join(content[at : at + size] for at, size in listed)
    target = "/large.ism/hls/t-1.m4s"
    for _ in range(4):
        assert client.get(target).body == body
        for begin, end in ((0, 1), (2799, 2801), (100_000, 900_000), (len(body) - 1, len(body))):
            part = client.request(target, headers={"Range": f"bytes={begin}-{end - 1}"})
            assert part.status == 206
            assert part.body == body[begin:end]
            assert part.headers["content-range"] == f"bytes {begin}-{end - 1}/{len(body)}"
        several = client.request(target, headers={"Range": "bytes=0-9,1000000-1500000,-7"})
        assert several.status == 206
        assert int(several.headers["content-length"]) == len(several.body)
        assert body[1_000_000:1_500_001] in several.body
    assert len(stack.sidecar.calls) == 1
    assert not stack.complaints()


def test_a_body_kept_in_memory_is_not_sent_for_a_file_that_changed(
    stack: FakeStack, client: Client
) -> None:
    path = media(stack, "kept.mp4", 100_000)
    for content in (b"a" * 100_000, b"b" * 100_000):
        path.write_bytes(content)
        plan(stack, ranges(path, [(0, 50_000), (60_000, 10)]))
        for _ in range(5):
            assert client.get("/kept.ism/hls/t-1.m4s").body == content[:50_010]


def test_head_reads_no_file(stack: FakeStack, client: Client) -> None:
    path = media(stack, "head.mp4", 1000)
    made = ranges(path, [(0, 1000)], etag='"h"', last_modified=784111777)
    plan(stack, made)
    path.chmod(0)
    response = client.request("/head.ism/hls/t-1.m4s", method="HEAD")
    assert response.status == 200
    assert response.headers["content-length"] == "1000"
    assert response.headers["content-type"] == "video/mp4"
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["last-modified"] == "Sun, 06 Nov 1994 08:49:37 GMT"
    ranged = client.request("/head.ism/hls/t-1.m4s", method="HEAD", headers={"Range": "bytes=0-1"})
    assert (ranged.status, ranged.headers["content-length"]) == (200, "1000")


def test_304_and_416_say_what_they_must(stack: FakeStack, client: Client) -> None:
    path = media(stack, "conditions.mp4", 1000)
    made = ranges(path, [(0, 1000)], etag='"c"', last_modified=784111777)
    made.headers.add(name="Cache-Control", value="max-age=2")
    plan(stack, made)
    target = "/conditions.ism/hls/t-1.m4s"
    same = client.request(target, headers={"If-None-Match": 'W/"x", W/"c"'})
    assert (same.status, same.body) == (304, b"")
    assert same.headers["etag"] == '"c"'
    assert same.headers["cache-control"] == "max-age=2"
    assert same.headers["access-control-allow-origin"] == "*"
    beyond = client.request(target, headers={"Range": "bytes=1000-"})
    assert (beyond.status, beyond.body) == (416, b"")
    assert beyond.headers["content-range"] == "bytes */1000"
    failed = client.request(target, headers={"If-Match": '"other"'})
    assert failed.status == 412
    whole = client.request(target, headers={"Range": "bytes=0-9", "If-Range": '"other"'})
    assert (whole.status, len(whole.body)) == (200, 1000)


def test_how_long_a_copy_is_good_may_count_from_each_request(
    stack: FakeStack, client: Client
) -> None:
    path = media(stack, "lasting.mp4", 1000)
    for max_age, expires_ms, said in ((90, 0, 90), (90, 1000, 90), (0, 1000, 1)):
        plan(stack, ranges(path, [(0, 1000)], max_age=max_age, expires_ms=expires_ms))
        target = f"/lasting.ism/hls/t-{max_age + expires_ms}.m4s"
        for _ in range(2):
            headers = client.get(target).headers
            assert headers["cache-control"] == f"max-age={said}"
            sent, ends = (parsedate_to_datetime(headers[it]) for it in ("date", "expires"))
            assert abs((ends - sent).total_seconds() - said) <= 1


def test_an_empty_body(stack: FakeStack, client: Client) -> None:
    plan(stack, pb.Plan(status=200, content_type="text/vtt"))
    assert client.get("/empty.ism/x.vtt").body == b""
    assert client.request("/empty.ism/x.vtt", headers={"Range": "bytes=0-"}).status == 416


def test_a_file_that_shrinks_cuts_the_connection(stack: FakeStack, client: Client) -> None:
    """The client stops reading; meanwhile the file is truncated: never a whole answer."""
    path = media(stack, "shrinks.mp4", 60 << 20)
    size = path.stat().st_size
    plan(stack, ranges(path, [(0, size)]))
    with socket.create_connection(("127.0.0.1", stack.port)) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        raw.sendall(b"GET /shrinks.ism/hls/t-1.m4s HTTP/1.1\r\nHost: x\r\n\r\n")
        got = len(raw.recv(4096))
        time.sleep(0.3)
        os.truncate(path, 30 << 20)
        raw.settimeout(60)
        while data := raw.recv(1 << 20):
            got += len(data)
    assert got < size
    (line,) = [line for line in stack.complaints() if "is shorter than its plan" in line]
    assert re.search(r"request_id: [0-9a-f]{32}", line)


def resident(pid: int) -> int:
    """Anonymous memory of a process, KB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+)", status)[1])  # type: ignore[index]


def test_clients_that_do_not_read_cost_no_memory(stack: FakeStack, client: Client) -> None:
    path = media(stack, "slow.mp4", 64 << 20)
    plan(stack, ranges(path, [(0, path.stat().st_size)]))
    (worker,) = stack.workers
    client.request("/slow.ism/hls/t-1.m4s", headers={"Range": "bytes=0-10"})
    before = resident(worker)
    clients = [socket.create_connection(("127.0.0.1", stack.port)) for _ in range(10)]
    for raw in clients:
        raw.sendall(b"GET /slow.ism/hls/t-1.m4s HTTP/1.1\r\nHost: x\r\n\r\n")
        raw.recv(1)
    time.sleep(0.5)
    assert resident(worker) - before < 20_000
    descriptors = Path(f"/proc/{worker}/fd")
    held = [fd for fd in descriptors.iterdir() if _target(fd) == str(path)]
    assert len(held) == 10
    for raw in clients:
        raw.close()
    eventually(
        lambda: not [fd for fd in descriptors.iterdir() if _target(fd) == str(path)],
        "files of gone clients are closed",
    )
    assert not stack.complaints()


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""


def test_memory_is_flat(stack: FakeStack, client: Client) -> None:
    path = media(stack, "flat.mp4", 400_000)
    listed = [(at, 350) for at in range(0, 390_000, 2000)]

    def answer(request: pb.PlanRequest, context: Any) -> pb.PlanReply:
        if request.virtual_path.endswith(".mpd"):
            return pb.PlanReply(
                plan=inline(b"x" * 60_000, sources=[source_of(path)], cache_class=1)
            )
        return pb.PlanReply(plan=ranges(path, listed))

    stack.sidecar.answer = answer
    (worker,) = stack.workers
    targets = ["/flat.ism/.mpd", "/none", *(f"/flat.ism/hls/t-{n}.m4s" for n in range(300))]

    def round_trip(times: int) -> int:
        for _ in range(times):
            for target in targets:
                client.request(target)
        return resident(worker)

    warm = round_trip(20)
    assert round_trip(20) <= warm * 1.1 + 2000
    assert not stack.complaints()


def test_faults_of_the_sidecar_are_500_and_one_line(stack: FakeStack, client: Client) -> None:
    def answer(request: pb.PlanRequest, context: Any) -> pb.PlanReply:
        context.abort(grpc.StatusCode.INTERNAL, "secret /etc/passwd é%\n")

    stack.sidecar.answer = answer
    response = client.request("/fault.ism/.mpd")
    assert response.status == 500
    assert SENTENCE.fullmatch(response.text)
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["access-control-allow-origin"] == "*"
    (line,) = stack.complaints()
    assert "/fault.ism" in line
    assert "grpc-status 13: secret /etc/passwd é%" in line
    request_id = re.findall(r"request_id: ([0-9a-f]{32})", line)[0]
    ended = ' FMP4_INTERNAL_ERROR sidecar 1 "/fault.ism" "-" "-"'
    assert stack.access_log(request_id)[-1].endswith(ended)
    assert len(stack.sidecar.calls) == 1


@pytest.mark.parametrize(
    "code",
    [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED],
)
def test_an_overloaded_sidecar_is_tried_twice(
    stack: FakeStack, client: Client, code: grpc.StatusCode
) -> None:
    def answer(request: pb.PlanRequest, context: Any) -> pb.PlanReply:
        if len(stack.sidecar.calls) % 2:
            context.abort(code, "not now")
        return pb.PlanReply(plan=inline(b"second"))

    stack.sidecar.answer = answer
    assert client.get("/busy.ism/.mpd").text == "second"
    stack.sidecar.answer = lambda request, context: context.abort(code, "not now")
    response = client.request("/busy.ism/.mpd")
    assert response.status == 503
    assert response.headers["retry-after"] == "1"
    assert len(stack.sidecar.calls) == 4


@pytest.mark.parametrize(
    "broken",
    [
        pb.PlanReply(),
        pb.PlanReply(plan=pb.Plan(status=200, length=5)),
        pb.PlanReply(plan=pb.Plan(status=42)),
        pb.PlanReply(plan=pb.Plan(status=200, headers=[pb.Header(name="A", value="b\r\nC: d")])),
        pb.PlanReply(plan=pb.Plan(status=200, parts=[pb.Part(file=pb.FileRanges(offset=[1]))])),
    ],
)
def test_plans_that_make_no_sense_are_500(
    stack: FakeStack, client: Client, broken: pb.PlanReply
) -> None:
    stack.sidecar.answer = lambda request, context: broken
    assert client.request("/broken.ism/.mpd").status == 500
    assert len(stack.complaints()) == 1


def test_a_reply_of_many_megabytes(stack: FakeStack, client: Client) -> None:
    body = os.urandom(20 << 20)
    plan(stack, inline(body))
    assert client.get("/huge.ism/.mpd").body == body


def test_the_sidecar_away_and_back(stack: FakeStack, client: Client) -> None:
    plan(stack, inline(b"here"))
    assert client.get("/away.ism/.mpd").text == "here"
    stack.sidecar.stop()
    try:
        for _ in range(3):
            started = time.monotonic()
            response = client.request("/away.ism/.mpd")
            assert time.monotonic() - started < AT_ONCE
            assert response.status == 503
            assert response.headers["retry-after"] == "1"
            assert SENTENCE.fullmatch(response.text)
    finally:
        stack.sidecar.start()
    eventually(lambda: client.request("/away.ism/.mpd").status == 200, "recovery")
    ours = [line for line in stack.complaints() if "origin: /away.ism" in line]
    assert len(ours) >= 3


def test_a_call_whose_sidecar_dies_is_made_again(stack: FakeStack, client: Client) -> None:
    """The restarted process is there within the pause before the second try."""

    def answer(request: pb.PlanRequest, context: Any) -> pb.PlanReply:
        if len(stack.sidecar.calls) == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "going down")
        return pb.PlanReply(plan=inline(b"alive"))

    stack.sidecar.answer = answer
    assert client.get("/dies.ism/.mpd").text == "alive"


# A location that maps results to other statuses, one without CORS, one that is off.
EXTRA = """
        location ~ ^/mapped/.*\\.ism/ {
            content_by_lua_block { vod:content() }
            header_filter_by_lua_block {
                if ngx.status == FMP4_FRAGMENT_MISSING then ngx.status = 204 end
                if ngx.status == FMP4_FRAGMENT_NOT_FOUND then ngx.status = 410 end
                if ngx.status == FMP4_OK then ngx.header["X-Ok"] = "yes" end
                ngx.header["X-Result"] = ngx.ctx.origin.result
            }
        }
        location ~ ^/plain/.*\\.ism/ {
            lua_check_client_abort on;
            content_by_lua_block { plain:content() }
        }
        location ~ ^/off/.*\\.ism/ { content_by_lua_block { off:content() } }
        location = /none {
            content_by_lua_block { ngx.exit(404) }
            header_filter_by_lua_block {
                if ngx.status == FMP4_NOT_FOUND then ngx.header["X-Wrong"] = "yes" end
            }
        }
"""
LOCATIONS = """
        plain = origin.location [[ usp_handle_ism; origin_cors off; origin_read_ahead 0; ]]
        off = origin.location [[ ]]
"""


def with_extras(text: str) -> str:
    text = text.replace("        root media;\n", f"        root media;\n{EXTRA}", 1)
    text = re.sub(r"( +origin\.http \[\[)(.*\]\]\n)", r"\1 origin_body_cache off;\2", text)
    return re.sub(r"( +vod = origin.*\n)", rf"\1{LOCATIONS}", text)


@pytest.fixture(scope="module")
def extras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeStack]:
    with fake_stack(tmp_path_factory.mktemp("extras"), edit=with_extras) as running:
        yield running


@pytest.mark.parametrize(
    ("result", "status", "becomes"),
    [
        (pb.FMP4_FRAGMENT_MISSING, 412, 204),
        (pb.FMP4_FRAGMENT_MISSING, 404, 204),
        (pb.FMP4_FRAGMENT_NOT_FOUND, 404, 410),
        (pb.FMP4_FRAGMENT_NOT_AVAILABLE, 404, 404),
        (pb.FMP4_NOT_FOUND, 404, 404),
    ],
)
def test_results_are_mapped_by_the_names_of_their_globals(
    extras: FakeStack, result: pb.Result, status: int, becomes: int
) -> None:
    plan(extras, refusal(result, status, "No."))
    client = extras.client()
    response = client.request("/mapped/a.ism/hls/t-1.m4s")
    assert response.status == becomes
    assert response.headers["x-result"] == pb.Result.Name(result)
    assert "x-ok" not in response.headers
    assert client.request("/a.ism/hls/t-1.m4s").status == status
    assert not extras.complaints()


def test_results_of_whole_answers_and_of_other_requests(extras: FakeStack) -> None:
    plan(extras, inline(b"x" * 100))
    client = extras.client()
    assert client.request("/mapped/a.ism/.mpd").headers["x-ok"] == "yes"
    missing = client.request("/none")
    assert missing.status == 404
    assert "x-wrong" not in missing.headers
    assert not extras.complaints()


def test_directives_of_a_location(extras: FakeStack) -> None:
    plan(extras, inline(b"x"))
    client = extras.client()
    bare = client.request("/plain/a.ism/.mpd")
    assert bare.status == 200
    assert not [name for name in bare.headers if name.startswith("access-control")]
    preflight = client.request("/plain/a.ism/.mpd", method="OPTIONS")
    assert (preflight.status, preflight.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
    assert "access-control-allow-origin" not in preflight.headers
    with_cors = client.request("/a.ism/.mpd", method="OPTIONS")
    assert with_cors.headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS"
    assert with_cors.headers["access-control-max-age"] == "86400"
    assert client.request("/off/a.ism/.mpd").status == 404
    assert [call.read_ahead for call in extras.sidecar.calls][-1] == 0


def test_a_client_that_leaves_does_not_take_the_others_along(extras: FakeStack) -> None:
    """With lua_check_client_abort on, where nginx would end the leader's coroutine."""

    go_on = threading.Event()

    def answer(request: pb.PlanRequest, context: Any) -> pb.PlanReply:
        go_on.wait(60)
        return pb.PlanReply(plan=inline(b"late"))

    extras.sidecar.answer = answer
    extras.sidecar.calls.clear()
    first = Client(extras.base)
    first.send("/plain/leave.ism/.mpd")
    eventually(lambda: bool(extras.sidecar.calls), "the call")
    first.close()
    started = time.monotonic()
    (second,) = extras.at_once(["/plain/leave.ism/.mpd"], go_on)
    assert (second.status, second.text) == (200, "late")
    assert time.monotonic() - started < AT_ONCE
    assert len(extras.sidecar.calls) == 1


def test_a_reload_keeps_serving(extras: FakeStack) -> None:
    plan(extras, inline(b"x"))
    client = extras.client()
    before = extras.workers
    assert client.get("/a.ism/.mpd").body == b"x"
    os.kill(extras.process.pid, signal.SIGHUP)
    eventually(lambda: bool(set(extras.workers) - set(before)), "new worker")
    eventually(lambda: extras.client().request("/a.ism/.mpd").status == 200, "answer")
    assert not extras.complaints()


@pytest.mark.parametrize(
    ("blocks", "error"),
    [
        (
            "vod = origin.location [[ usp_handle_ism on;\n usp_handle_ims on; ]]",
            'directive "usp_handle_ims" is unknown in origin.location block, line 2 '
            '(did you mean "usp_handle_ism"?)',
        ),
        (
            "origin.http [[ usp_handle_ism on; ]]",
            'directive "usp_handle_ism" is not allowed in origin.http block, line 1',
        ),
        ("origin.http [[ ]] origin.http [[ ]]", "origin.http must come once"),
        ("origin.location(nil)", "origin.location takes a string of directives"),
        ("vod = origin.location [[ ]] vod.content = 1", "can not be changed"),
    ],
)
def test_a_mistake_in_a_block_stops_the_start(tmp_path: Path, blocks: str, error: str) -> None:
    def edit(text: str) -> str:
        text = re.sub(r" *origin\.http.*\n", "", text)
        return re.sub(r"vod = origin.location \[\[.*\]\]", lambda _: blocks, text)

    assert _start_fails(tmp_path, edit, error)


def test_a_missing_dictionary_stops_the_start(tmp_path: Path) -> None:
    def edit(text: str) -> str:
        return re.sub(r" *lua_shared_dict origin_locks.*\n", "", text)

    assert _start_fails(tmp_path, edit, "the http block lacks lua_shared_dict origin_locks")


def _start_fails(root: Path, edit: Any, error: str) -> bool:
    prepare(root, edit=edit)
    done = subprocess.run(command(root), cwd=root, capture_output=True, timeout=60, check=False)
    said = done.stderr.decode() + (root / "logs" / "error.log").read_text()
    assert error in said
    return done.returncode != 0
