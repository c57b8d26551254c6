"""What docs/migrate.md and docs/deploy.md show is what happens."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.cli.nginx import find_nginx
from tests.support.http import Client
from tests.support.media import ROOT
from tests.support.stack import Stack, eventually, free_port, origin


def shown(page: str, name: str) -> str:
    """The block of code behind the comment ``name``."""
    text = (ROOT / "docs" / page).read_text()
    match = re.search(rf"<!-- {name} -->\n```nginx\n(.*?)```", text, re.DOTALL)
    assert match is not None
    return match[1]


def test_the_example_of_a_migration(tmp_path: Path) -> None:
    (tmp_path / "nginx.conf").write_text(shown("migrate.md", "before"))
    done = origin("migrate", tmp_path / "nginx.conf")
    assert done.returncode == 0, done.stderr
    made = done.stdout.splitlines()
    rest = iter(made)
    for line in shown("migrate.md", "after").splitlines():
        assert line in rest, f"not there, or not in this order: {line}"
    assert "as the encoder made them" in done.stdout


@pytest.fixture
def edge(stack: Stack, tmp_path: Path) -> Iterator[Client]:
    """nginx with the cache of the page, in front of the shared stack."""
    port = free_port()
    text = shown("deploy.md", "edge")
    text = text.replace("127.0.0.1:8080", stack.base.removeprefix("http://"))
    text = text.replace("listen 8090", f"listen 127.0.0.1:{port}")
    temporary = "".join(
        f"{name}_temp_path tmp/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "tmp").mkdir()
    (tmp_path / "edge.conf").write_text(
        f"pid edge.pid; error_log error.log; daemon off; user root root;\n"
        f"events {{ }}\nhttp {{\naccess_log off;\n{temporary}{text}}}\n"
    )
    process = subprocess.Popen(
        [find_nginx().binary, "-p", f"{tmp_path}/", "-c", "edge.conf", "-e", "error.log"],
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: (tmp_path / "edge.pid").exists(), "the edge does not start")
        client = Client(f"http://127.0.0.1:{port}")
        yield client
        client.close()
    finally:
        process.terminate()
        process.wait(20)


def test_the_cache_in_front(edge: Client, stack: Stack) -> None:
    path = "/ladder_1.mp4/.m3u8"
    first, second = edge.request(path), edge.request(path)
    assert (first.status, second.status) == (200, 200)
    assert (first.headers["x-cache"], second.headers["x-cache"]) == ("MISS", "HIT")
    assert first.body == second.body == stack.client().request(path).body
    playlist = next(line for line in first.text.splitlines() if line and line[0] != "#")
    media = edge.request(f"/ladder_1.mp4/{playlist}").text.splitlines()
    segment = f"/ladder_1.mp4/{next(line for line in media if line and line[0] != '#')}"
    whole = edge.request(segment)
    part = edge.request(segment, headers={"Range": "bytes=188-375"})
    assert (whole.status, part.status, part.headers["x-cache"]) == (200, 206, "HIT")
    assert part.body == whole.body[188:376]
    kept = edge.request(segment, headers={"If-None-Match": whole.headers["etag"]})
    assert (kept.status, kept.headers["x-cache"]) == (304, "HIT")
    gone = "/ladder_1.mp4/hls/absent-1.ts"
    caught = [edge.request(gone).headers["x-cache"] for _ in range(2)]
    assert caught[0] == "MISS" and caught[1] in ("HIT", "EXPIRED")  # it is kept for a second
