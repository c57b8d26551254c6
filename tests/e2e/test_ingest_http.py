"""From an encoder through nginx to a publishing point, and its API, as a client meets them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lua_e2e.test_examples import in_force
from tests.support.encoder import stream
from tests.support.frames import decode, dropped
from tests.support.http import Client, Response
from tests.support.media import ROOT
from tests.support.ports import free_port
from tests.support.raw_http import RawConnection, connect
from tests.support.stack import Stack, children, end_process, eventually, origin

SMOOTH = stream("smooth")
ENDLESS = SMOOTH[: SMOOTH.rindex(b"mfra") - 4]
HALF = SMOOTH[: [at - 4 for at in range(len(SMOOTH)) if SMOOTH.startswith(b"moof", at)][-2]]
FFMPEG = (
    *("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=96x54:r=25:d=4"),
    *("-f", "lavfi", "-i", "sine=d=4", "-c:v", "libx264", "-preset", "veryfast", "-g", "25"),
    *("-pix_fmt", "yuv420p", "-c:a", "aac", "-method", "POST"),
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack with the API in force."""
    root = tmp_path_factory.mktemp("ingest")
    text = in_force((ROOT / "openresty.conf").read_text(), "location ^~ /api/")
    api = "api = origin.location [[ usp_handle_api on; ]]"
    text, count = re.subn(r"(\n *)(live = origin\.location.*)", rf"\1\2\1{api}", text)
    assert count == 1
    (root / "openresty.conf").write_text(text)
    (root / "lua").symlink_to(ROOT / "lua")
    (root / "media").mkdir()
    run, port = root / "run", free_port()
    done = origin(
        *("start", "--run", run, "--port", str(port), "--workers", "2"),
        *("--media", root / "media", "--conf", root / "openresty.conf"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    running = Stack(base=f"http://127.0.0.1:{port}", run=run, media=root / "media")
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def channel(stack: Stack, request: pytest.FixtureRequest) -> str:
    """The path of a channel of this test's own; its folder is there, it is not."""
    name = re.sub(r"\W+", "_", request.node.name)
    (stack.run / "live" / "channels" / name).mkdir(parents=True)
    return f"/channels/{name}/{name}.isml"


def told(client: Client, channel: str, name: str) -> dict[str, object]:
    answer = client.request(f"{channel}/{name}", headers={"Accept": "application/json"})
    assert answer.status == 200, answer.text
    found: dict[str, object] = json.loads(answer.body)
    return found


def gaps(client: Client, channel: str) -> list[int]:
    tracks = told(client, channel, "archive")["tracks"]
    assert isinstance(tracks, list)
    return [len(one["ranges"]) - 1 for one in tracks]


def delivering(client: Client, channel: str) -> list[str]:
    """The states of connections that have brought something."""
    answer = client.request(f"{channel}/statistics", headers={"Accept": "application/json"})
    if answer.status != 200:
        return []
    found = json.loads(answer.body)["connections"]
    return sorted(one["state"] for one in found if one["tracks"])


def post(client: Client, target: str, body: bytes, method: str = "POST") -> Response:
    return client.request(target, method=method, body=body)


@contextmanager
def encoding(stack: Stack, target: str) -> Iterator[RawConnection]:
    """An encoder that has begun to post in chunks."""
    with connect(int(stack.base.rpartition(":")[2])) as connection:
        connection.send(f"POST {target}\nTransfer-Encoding: chunked\n\n")
        yield connection


def chunk(connection: RawConnection, data: bytes) -> None:
    connection.raw.sendall(b"%x\r\n%s\r\n" % (len(data), data))


# All that it sends goes to a file too.
GSTREAMER = (
    *("gst-launch-1.0", "-q", "mp4mux", "name=mux", "fragment-duration=2000", "streamable=true"),
    *("!", "tee", "name=sent"),
    *("videotestsrc", "num-buffers=150", "pattern=ball", "!"),
    *("video/x-raw,width=160,height=90,framerate=25/1", "!", "openh264enc", "gop-size=50", "!"),
    *("h264parse", "!", "mux."),
    *("audiotestsrc", "num-buffers=280", "samplesperbuffer=1024", "wave=ticks", "!"),
    *("audio/x-raw,rate=48000", "!", "avenc_aac", "!", "aacparse", "!", "mux."),
)


def test_gstreamer(stack: Stack, client: Client, channel: str, tmp_path: Path) -> None:
    file, url = tmp_path / "sent.mp4", f"{stack.base}{channel}"
    sinks = (
        *("sent.", "!", "queue", "!", "filesink", "sync=false", f"location={file}"),
        *(
            "sent.",
            "!",
            "queue",
            "!",
            "curlhttpsink",
            "sync=false",
            f"location={url}/Streams(main)",
        ),
    )
    pushed = subprocess.run(
        [*GSTREAMER, *sinks], capture_output=True, text=True, timeout=120, check=False
    )
    assert pushed.returncode == 0, pushed.stderr
    # Whether it says that this is the end, or just goes, it has not decided.
    eventually(lambda: delivering(client, channel) in (["ended"], ["closed"]), "its end")
    assert gaps(client, channel) == [0, 0]
    assert client.request(f"/api{channel}/stop", method="POST").status == 200
    sent = decode(str(file), "0:v:0", "0:a:0")
    assert len(sent[0]) == 150
    for name in (".m3u8?hls_fmp4=false", ".m3u8?hls_fmp4", ".mpd"):
        served = decode(f"{url}/{name}", "0:v:0", "0:a:0")
        assert [dropped(*pair) for pair in zip(sent, served, strict=True)] == [(0, 0)] * 2


@pytest.mark.parametrize(
    "output",
    [
        ("-f", "ismv", "-movflags", "isml+frag_keyframe"),
        ("-f", "mp4", "-movflags", "cmaf+frag_keyframe"),
    ],
    ids=["smooth", "cmaf"],
)
def test_ffmpeg(stack: Stack, client: Client, channel: str, output: tuple[str, ...]) -> None:
    subprocess.run([*FFMPEG, *output, f"{stack.base}{channel}/Streams(main)"], check=True)
    # ffmpeg does not wait for the answer.
    eventually(
        lambda: f'"POST {channel}/Streams(main) HTTP/1.1" 200' in stack.access_log(), "its line"
    )
    master = client.get(f"{channel}/.m3u8")
    media = next(line for line in master.text.splitlines() if line.endswith(".m3u8"))
    playlist = client.get(f"{channel}/{media}").text
    assert 3 < sum(map(float, re.findall(r"#EXTINF:([\d.]+)", playlist))) < 4.2
    segment = next(line for line in playlist.splitlines() if line and line[0] != "#")
    assert len(client.get(f"{channel}/{segment}").body) > 1000
    (line,) = [one for one in stack.access_log().splitlines() if f"POST {channel}" in one]
    assert " FMP4_OK - - " in line and f'"{channel}"' in line


def test_metrics_of_ingest(stack: Stack, client: Client, channel: str) -> None:
    assert post(client, f"{channel}/Streams(main)", ENDLESS).status == 200
    admin = stack.admin

    def said(name: str) -> float:
        text = admin.request("/metrics").text
        lines = [line for line in text.splitlines() if line.startswith(name)]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    assert said("origin_sidecar_ingest_fragments_total{") >= ENDLESS.count(b"moof")
    assert said("origin_sidecar_ingest_bytes_total") >= len(ENDLESS)
    eventually(
        lambda: said('origin_requests_total{kind="live.ingest",result="FMP4_OK",status="200"') >= 1,
        "the request",
        seconds=10,
    )
    assert admin.request("/readyz").status == 200


def test_the_start_sequence_makes_the_channel(stack: Stack, client: Client, channel: str) -> None:
    assert client.request(f"{channel}/state").status == 404
    assert post(client, channel, b"").status == 200
    state = client.request(f"{channel}/state")
    assert b'<meta name="state" content="idle"></meta>' in state.body
    assert state.headers["content-type"] == "application/xml; charset=utf-8"
    assert state.headers["access-control-allow-origin"] == "*"
    assert "x-origin-result" not in state.headers and "x-origin-kind" not in state.headers
    assert client.request(f"{channel}/state", method="HEAD").body == b""
    assert post(client, f"{channel}/state", b"").status == 405
    assert client.request(f"{channel}/statistics").status == 200


def test_what_clients_call_their_headers_means_nothing(
    stack: Stack, client: Client, channel: str
) -> None:
    """The path, the directives and the sender are nginx's word."""
    answer = client.request(
        f"{channel}/Streams(main)",
        method="POST",
        body=ENDLESS,
        headers={
            "X-Origin-Request": "CgUvdG1wLw==",
            "X-Origin-Asset": "/etc/passwd",
            "X-Origin-Sender": "somebody",
        },
    )
    assert answer.status == 200
    (connection,) = told(client, channel, "statistics")["connections"]  # type: ignore[misc]
    assert connection["encoder"].startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("data", "status", "result"),
    [(b"rubbish that is no box", 400, "FMP4_INVALID_MEDIA"),
     (SMOOTH.replace(b"avc1", b"xvc1").replace(b"mp4a", b"xp4a"), 415, "FMP4_UNSUPPORTED_MEDIA")],
    ids=["damaged", "unsupported"],
)  # fmt: skip
def test_streams_that_are_refused(
    stack: Stack, client: Client, channel: str, data: bytes, status: int, result: str
) -> None:
    """The answer comes at once, though the body goes on; the line in the log says why."""
    with encoding(stack, f"{channel}/Streams(main)") as encoder:
        chunk(encoder, data)
        answer = encoder.read()
    assert answer.status == status
    assert answer.body.endswith(b"\n") and str(stack.run).encode() not in answer.body
    eventually(
        lambda: any(result in one and channel in one for one in stack.access_log().splitlines()),
        "its line",
    )


def test_media_for_the_channel_itself_is_a_mistake(client: Client, channel: str) -> None:
    answer = post(client, channel, SMOOTH)
    assert (answer.status, "Streams(name)" in answer.text) == (400, True)


def test_elsewhere_points_must_be_there(stack: Stack, client: Client) -> None:
    assert post(client, "/own.isml/Streams(main)", ENDLESS).status == 404
    assert not (stack.media / "own.isml").exists()
    (stack.media / "own.isml").write_text("<smil/>")
    assert post(client, "/own.isml/Streams(main)", ENDLESS).status == 200
    assert client.get("/own.isml/.m3u8").text.startswith("#EXTM3U")
    for name in ("own.db3", "own.db3-wal", "own.db3-stamp"):
        assert client.request(f"/{name}").status == 404


def test_an_encoder_that_does_not_wait_for_the_answer(
    stack: Stack, client: Client, channel: str
) -> None:
    """All that it has sent is taken in, though its socket is closed at once."""
    for n in range(8):
        with encoding(stack, f"{channel}/Streams(s{n})") as encoder:
            encoder.raw.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(ENDLESS), ENDLESS))
    eventually(lambda: delivering(client, channel) == ["closed"] * 8, "all of them")
    tracks = told(client, channel, "statistics")["tracks"]
    assert sum(one["fragments"] for one in tracks) == 8 * ENDLESS.count(b"moof")  # type: ignore[attr-defined]


def test_one_of_two_encoders_dies(stack: Stack, client: Client, channel: str) -> None:
    """In the middle of a fragment; the other goes on."""
    target = f"{channel}/Streams(main)"
    with encoding(stack, target) as first, encoding(stack, target) as second:
        for encoder in (first, second):
            chunk(encoder, HALF)
        eventually(lambda: len(delivering(client, channel)) == 2, "both")
        chunk(first, SMOOTH[len(HALF) : len(HALF) + 700])
        first.raw.close()
        eventually(lambda: delivering(client, channel) == ["broken", "open"], "its end")
        chunk(second, SMOOTH[len(HALF) :])
        second.raw.sendall(b"0\r\n\r\n")
        assert second.read().status == 200
    assert gaps(client, channel) == [0, 0]
    assert told(client, channel, "state")["state"] == "stopped"


def test_processes_die_and_encoders_connect_again(
    stack: Stack, client: Client, channel: str
) -> None:
    target = f"{channel}/Streams(main)"
    with encoding(stack, target) as encoder:
        chunk(encoder, HALF)
        eventually(
            lambda: (
                client.request(f"{channel}/.m3u8").status == 200
                and all(one == 0 for one in gaps(client, channel))
            ),
            "what it has sent",
        )
        for pid in children(stack.pid("sidecar")):
            end_process(pid, signal.SIGKILL)
        assert encoder.read().status == 502
    eventually(lambda: post(client, target, SMOOTH).status in (200, 409), "another process")
    assert gaps(client, channel) == [0, 0]
    assert client.request(f"{channel}/.mpd").status == 200


def test_processes_that_are_replaced_finish_what_has_come(
    stack: Stack, client: Client, channel: str
) -> None:
    target = f"{channel}/Streams(main)"
    eventually(lambda: post(client, target, b"").status == 200, "the processes of before")
    with encoding(stack, target) as encoder:
        chunk(encoder, HALF)
        eventually(lambda: told(client, channel, "state")["state"] == "started", "the stream")
        os.kill(stack.pid("sidecar"), signal.SIGHUP)
        assert encoder.read().status == 503
    assert gaps(client, channel) == [0, 0]
    eventually(lambda: post(client, target, SMOOTH).status == 200, "another process")
    assert gaps(client, channel) == [0, 0]


def test_the_api(stack: Stack, client: Client, channel: str) -> None:
    url = f"{stack.base}/api{channel}"
    for said in ("created", "changed"):
        done = origin("create", "-o", url, "--archiving=true", "--dvr_window_length=60")
        assert (done.returncode, done.stdout) == (0, f"{url}: {said}\n")
    stored = client.get(f"/api{channel}")
    assert b'<meta name="dvr_window_length" content="60" />' in stored.body
    file = stack.run / "live" / channel[1:]
    assert file.read_bytes() == stored.body
    with encoding(stack, f"{channel}/Streams(main)") as encoder:
        chunk(encoder, HALF)
        eventually(lambda: bool(told(client, channel, "statistics")["tracks"]), "tracks")
        refused = client.request(f"/api{channel}", method="DELETE")
        assert refused.status == 409
        assert client.request(f"/api{channel}/stop", method="POST").status == 200
        assert told(client, f"/api{channel}", "state")["state"] == "stopped"
        assert "#EXT-X-ENDLIST" in media_playlist(client, channel)
        chunk(encoder, SMOOTH[len(HALF) :])
        assert encoder.read().status == 409
    eventually(
        lambda: client.request(f"/api{channel}", method="DELETE").status == 200, "the deletion"
    )
    assert [one.name for one in file.parent.iterdir()] == [f"{file.stem}.deleted"]
    assert client.request(f"{channel}/.m3u8").status == 404


def media_playlist(client: Client, channel: str) -> str:
    master = client.get(f"{channel}/.m3u8").text
    media = next(line for line in master.splitlines() if line.endswith(".m3u8"))
    return client.get(f"{channel}/{media}").text


def test_the_api_streams_nothing_and_streams_manage_nothing(
    stack: Stack, client: Client, channel: str
) -> None:
    assert post(client, f"{channel}/Streams(main)", ENDLESS).status == 200
    for path in ("/.m3u8", "/Streams(main)"):
        assert client.request(f"/api{channel}{path}").status == 404
    assert post(client, f"/api{channel}/Streams(main)", ENDLESS).status == 404
    preflight = client.request(f"/api{channel}", method="OPTIONS")
    assert preflight.headers["allow"] == "GET, HEAD, PUT, POST, DELETE, OPTIONS"
    for action in ("stop", "purge", "start", "event"):
        assert post(client, f"{channel}/{action}", b"").status == 405
    assert client.request(channel, method="DELETE").status == 403
    assert client.request(channel).status == 403
    for path, method, allow in (
        ("", "PATCH", "GET, HEAD, PUT, POST, DELETE, OPTIONS"),
        ("/state", "POST", "GET, HEAD, OPTIONS"),
        ("/purge", "GET", "POST, PUT, OPTIONS"),
    ):
        refused = client.request(f"/api{channel}{path}", method=method)
        assert (refused.status, refused.headers["allow"]) == (405, allow)


def test_an_encoder_whose_url_is_none_of_a_stream_is_told_so(client: Client, channel: str) -> None:
    for path in ("Streams(v)/seg.m4s", "init.mp4", ""):
        for method in ("POST", "PUT"):
            refused = client.request(f"{channel}/{path}", method=method, body=b"media")
            assert refused.text == "Media is sent to a stream: .isml/Streams(name)\n"
            assert refused.status == 405


def test_the_command_tells_what_the_origin_says(stack: Stack, channel: str) -> None:
    refused = origin("create", "-o", f"{stack.base}/vod/x.isml")
    assert refused.returncode != 0
    assert "404" in refused.stderr
    done = origin("create", "-o", f"http://me:secret@{stack.base[7:]}/api{channel}")
    assert (done.returncode, "secret" in done.stdout) == (0, False)
    assert done.stdout == f"{stack.base}/api{channel}: created\n"
