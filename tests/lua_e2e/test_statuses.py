"""Statuses that a location changes, in a header filter or by origin_status: on the wire."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from sidecar.errors import Result
from sidecar.rpc import origin_pb2 as pb
from sidecar.service.statuses import PLAYOUTS, playout_of, status_of
from tests.support.fake_sidecar import FakeStack, fake_stack, inline, ranges, refusal
from tests.support.raw_http import connect
from tests.support.stack import free_port
from tests.support.tls import listen

FORMATS = sorted(PLAYOUTS)

# Both forms of the snippet as users have it; any status to any other, for the rest.
LOCATIONS = r"""
        location ~ ^/string/.*\.ism/ {
            content_by_lua_block { vod:content() }
            header_filter_by_lua "
              if ngx.status == FMP4_FRAGMENT_MISSING then
                ngx.status = 204
              end
            ";
        }
        location ~ ^/block/.*\.ism/ {
            content_by_lua_block { vod:content() }
            header_filter_by_lua_block {
              if ngx.status == FMP4_FRAGMENT_MISSING then
                ngx.status = 204
              end
            }
        }
        location ~ ^/any/(?<from>[0-9]+)/(?<to>[0-9]+)/.*\.ism/ {
            content_by_lua_block { vod:content() }
            header_filter_by_lua_block {
                if ngx.status == tonumber(ngx.var.from) then
                    ngx.status = ngx.var.to
                end
            }
        }
        location ~ ^/directive/.*\.ism/ {
            content_by_lua_block { mapped:content() }
        }
"""
DIRECTIVES = """
        mapped = origin.location [[
            usp_handle_ism on;
            origin_status FMP4_FRAGMENT_MISSING     mpd 204;
            origin_status FMP4_FRAGMENT_MISSING     *   404;
            origin_status FMP4_FRAGMENT_NOT_FOUND   iss 200;
            origin_status FMP4_INVALID_MEDIA        *   204;
            origin_status FMP4_UNAVAILABLE          *   502;
        ]]
"""


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """``clear``, ``secure``: base URLs of HTTP/2 without and with TLS."""

    stack: FakeStack
    clear: str
    secure: str


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapped]:
    root = tmp_path_factory.mktemp("mapped")
    clear, secure = free_port(), free_port()
    listens = f"listen 127.0.0.1:{clear} http2;\n{listen(root, secure)}"

    def edit(text: str) -> str:
        text = text.replace(
            "        root media;\n", f"        root media;\n{listens}{LOCATIONS}", 1
        )
        return re.sub(r"( +vod = origin.*\n)", rf"\1{DIRECTIVES}", text)

    with fake_stack(root, edit=edit) as running:
        yield Mapped(
            stack=running,
            clear=f"http://127.0.0.1:{clear}",
            secure=f"https://127.0.0.1:{secure}",
        )


def refused(result: Result, format_name: str) -> pb.Plan:
    plan = refusal(result.value, status_of(result, format_name), "No.")  # type: ignore[arg-type]
    plan.format = playout_of(format_name)
    return plan


def answers(mapped: Mapped, segment: pb.Plan) -> None:
    """Segments get that plan, manifests a body."""

    def answer(request: pb.PlanRequest, context: Any) -> pb.PlanReply:
        is_manifest = request.virtual_path == ".mpd"
        return pb.PlanReply(plan=inline(b"manifest") if is_manifest else segment)

    mapped.stack.sidecar.answer = answer


def complaints(mapped: Mapped) -> list[str]:
    """But for what nginx says once of a missing license."""
    return [line for line in mapped.stack.complaints() if "usp_license_key" not in line]


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("form", ["string", "block"])
def test_the_snippet_of_the_document(mapped: Mapped, form: str, format_name: str) -> None:
    """204 without body, length and type, and the connection goes on at once."""
    answers(mapped, refused(Result.FMP4_FRAGMENT_MISSING, format_name))
    with connect(mapped.stack.port) as connection:
        gone, after, head, again = connection.ask(
            f"GET /{form}/a.ism/segment\n\n",
            f"GET /{form}/a.ism/.mpd\n\n",
            f"HEAD /{form}/a.ism/segment\n\n",
            f"GET /{form}/a.ism/.mpd\n\n",
        )
    for response in (gone, head):
        assert response.status == 204
        names = {name for name, _ in response.headers}
        assert not names & {"content-length", "content-type", "transfer-encoding", "accept-ranges"}
        assert response.all("connection") == ["keep-alive"]
    assert (after.status, after.body) == (again.status, again.body) == (200, b"manifest")
    with connect(mapped.stack.port) as connection:
        (plain,) = connection.ask("GET /a.ism/segment\n\n")
    assert plain.status == status_of(Result.FMP4_FRAGMENT_MISSING, format_name)
    assert plain.body == b"No.\n"


@pytest.mark.parametrize("result", [r for r in Result if r is not Result.FMP4_FRAGMENT_MISSING])
def test_the_snippet_leaves_other_results_alone(mapped: Mapped, result: Result) -> None:
    answers(mapped, refused(result, "smooth"))
    with connect(mapped.stack.port) as connection:
        for form in ("string", "block"):
            (response,) = connection.ask(f"GET /{form}/a.ism/segment\n\n")
            assert (response.status, response.body) == (status_of(result, "smooth"), b"No.\n")
    assert not complaints(mapped)


def test_http_1_0_gets_no_body_either(mapped: Mapped) -> None:
    answers(mapped, refused(Result.FMP4_FRAGMENT_MISSING, "hls"))
    with connect(mapped.stack.port) as connection:
        connection.raw.sendall(b"GET /string/a.ism/segment HTTP/1.0\r\n\r\n")
        text = b""
        while data := connection.raw.recv(4096):
            text += data
    assert text.startswith(b"HTTP/1.1 204 ")
    assert text.endswith(b"\r\n\r\n")
    assert b"\r\ncontent-length:" not in text.lower()


@pytest.mark.parametrize("format_name", FORMATS)
def test_http_2_clients_accept_it(mapped: Mapped, format_name: str) -> None:
    answers(mapped, refused(Result.FMP4_FRAGMENT_MISSING, format_name))
    paths = [f"/string/{format_name}.ism/segment", f"/block/{format_name}.ism/.mpd"] * 2
    seen = _run("nghttp", "-v", "--no-dep", *(mapped.clear + path for path in paths[:2]))
    statuses = re.findall(r"recv \(stream_id=\d+\) :status: (\d+)", seen)
    assert sorted(statuses) == ["200", "204"]
    assert "RST_STREAM" not in seen
    assert "error" not in seen.replace("error_code=NO_ERROR", "")
    # One connection: each further request makes none.
    form = "%{http_code} %{http_version} %{num_connects} %{content_type}\\n"
    urls = [mapped.secure + path for path in paths]
    sinks = [word for _ in urls for word in ("-o", "/dev/null")]
    seen = _run("curl", "-sSk", "--http2", "-w", form, *sinks, *urls)
    lines = [line.strip() for line in seen.splitlines()]
    assert lines == ["204 2 1", "200 2 0 text/plain", "204 2 0", "200 2 0 text/plain"]


def _run(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"not installed: {command[0]}")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("becomes", [200, 204, 206, 304, 403, 410, 503])
@pytest.mark.parametrize("status", [200, 206, 304, 404, 410, 412, 416, 503])
def test_any_status_may_become_any_other(mapped: Mapped, status: int, becomes: int) -> None:
    """What goes out is well framed, and has its body where the status may have one."""
    path = mapped.stack.media / "any.mp4"
    path.write_bytes(bytes(range(256)) * 4)
    asked = {206: "Range: bytes=10-19", 304: 'If-None-Match: "e"', 416: "Range: bytes=50000-"}
    if status in (200, *asked):
        # Two parts: the second one is printed when the headers have gone.
        answers(mapped, ranges(path, [(0, 700), (800, 100)], head=b"head" * 9000, etag='"e"'))
    else:
        answers(mapped, inline(b"No.\n", result=pb.FMP4_NOT_FOUND, status=status))
    lines = f"\n{asked[status]}" if status in asked else ""
    target = f"/any/{status}/{becomes}/a.ism/segment"
    with connect(mapped.stack.port) as connection:
        for _ in range(2):
            one, head, after = connection.ask(
                f"GET {target}{lines}\n\n", f"HEAD {target}{lines}\n\n", "GET /a.ism/.mpd\n\n"
            )
            assert (after.status, after.body) == (200, b"manifest")
            assert one.status == becomes
            length = {200: 36800, 206: 10, 304: 0, 416: 0}.get(status, 4)
            if becomes in (204, 304):
                assert not one.all("content-length")
                assert not one.all("content-type")
                assert not one.all("transfer-encoding")
            else:
                assert len(one.body) == length
            if status not in (206, 416):  # there are no ranges in answers to HEAD
                assert head.status == becomes
    assert not complaints(mapped)


@pytest.mark.parametrize(
    ("result", "format_name", "becomes"),
    [
        (Result.FMP4_FRAGMENT_MISSING, "dash", 204),
        (Result.FMP4_FRAGMENT_MISSING, "smooth", 404),
        (Result.FMP4_FRAGMENT_MISSING, "hds", 404),
        (Result.FMP4_FRAGMENT_NOT_FOUND, "smooth", 200),
        (Result.FMP4_FRAGMENT_NOT_FOUND, "dash", 410),
        (Result.FMP4_INVALID_MEDIA, "hls", 204),
        (Result.FMP4_NOT_FOUND, "hls", 404),
    ],
)
def test_origin_status(mapped: Mapped, result: Result, format_name: str, becomes: int) -> None:
    answers(mapped, refused(result, format_name))
    with connect(mapped.stack.port) as connection:
        one, head, after = connection.ask(
            "GET /directive/a.ism/segment\n\n",
            "HEAD /directive/a.ism/segment\n\n",
            "GET /directive/a.ism/.mpd\n\n",
        )
    assert one.status == head.status == becomes
    assert (after.status, after.body) == (200, b"manifest")
    if becomes == 204:
        assert not one.all("content-length") + one.all("content-type")
    else:
        assert (one.body, head.all("content-length")) == (b"No.\n", ["4"])


def test_origin_status_without_a_sidecar(mapped: Mapped) -> None:
    """What nginx says by itself belongs to no format: "*"."""
    mapped.stack.sidecar.stop()
    try:
        with connect(mapped.stack.port) as connection:
            (response,) = connection.ask("GET /directive/away.ism/segment\n\n")
    finally:
        mapped.stack.sidecar.start()
    assert (response.status, response.all("retry-after")) == (502, ["1"])
