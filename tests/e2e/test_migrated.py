"""Configurations of the original module, migrated by the command and served by the real stack."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.support.http import Response
from tests.support.media import ROOT, generated
from tests.support.stack import Stack, free_port, origin

CONFIGURATIONS = ROOT / "tests/sidecar/migrate/configurations"
MANIFEST = (
    '<smil><body><switch><video src="clip.mp4" systemBitrate="500000"/>'
    '<audio src="clip.mp4" systemBitrate="64000"/></switch></body></smil>'
)


class Migrated:
    """A configuration of the former nginx in ``folder``, migrated and started."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        media = folder / "video"
        for place in (media, folder / "live" / "channels"):
            place.mkdir(parents=True)
            shutil.copyfile(generated("bframes_closed.mp4"), place / "clip.mp4")
            (place / "clip.ism").write_text(MANIFEST)
        old = folder / "old"
        shutil.copytree(CONFIGURATIONS / name.partition("/")[0], old)
        for file in filter(Path.is_file, old.rglob("*")):
            text = file.read_text().replace("/srv/video", str(media))
            file.write_text(text.replace("/srv/live", str(folder / "live")))
        (old / "html").mkdir()
        (old / "html" / "index.html").write_text("<p>old</p>")
        file = old.joinpath(*name.split("/")[1:], "nginx.conf")
        self.done = origin("migrate", file)
        assert self.done.returncode == 0, self.done.stderr
        self.conf = folder / "openresty.conf"
        self.conf.write_text(self.done.stdout)
        port = free_port()
        started = origin(
            *("start", "--conf", self.conf, "--port", str(port), "--run", folder / "run"),
            *("--media", media, "--workers", "1"),
        )
        assert started.returncode == 0, started.stderr
        self.stack = Stack(base=f"http://127.0.0.1:{port}", run=folder / "run", media=media)
        self.client = self.stack.client()

    def get(self, target: str, **headers: str) -> Response:
        return self.client.request(target, headers=headers)

    def plays(self, target: str) -> bytes:
        """The first segment of the first rendition of the master playlist ``target``."""
        for _ in range(2):
            answer = self.get(target)
            assert answer.status == 200, answer.text
            lines = answer.text.splitlines()
            target = urljoin(target, next(line for line in lines if line[:1] not in ("#", "")))
        segment = self.get(target)
        assert segment.status == 200, segment.text
        return segment.body


def migrated(tmp_path_factory: pytest.TempPathFactory, name: str) -> Iterator[Migrated]:
    made = Migrated(tmp_path_factory.mktemp("migrated"), name)
    yield made
    made.client.close()
    made.stack.stop()


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Migrated]:
    yield from migrated(tmp_path_factory, "documented/conf")


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Migrated]:
    yield from migrated(tmp_path_factory, "distribution")


@pytest.fixture(scope="module")
def ancestor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Migrated]:
    yield from migrated(tmp_path_factory, "ancestor/conf")


def test_the_documented_configuration(documented: Migrated) -> None:
    assert len(documented.plays("/clip.ism/.m3u8")) > 1000
    assert documented.get("/clip.ism/.mpd").status == 200
    assert documented.get("/channels/clip.ism/.mpd").status == 200, "with a root of its own"
    assert documented.get("/clip.mp4").headers["content-type"] == "video/mp4"
    # Its snippet of Lua, in a string: a time at which no fragment begins.
    gone = documented.get("/clip.ism/dash/clip-video=500000-1.dash")
    assert (gone.status, gone.body) == (204, b"")
    for denied in ("/clip.ismv", "/clip.ism", "/channels/clip.isml"):
        assert documented.get(denied).status == 403, denied
    assert documented.get("/").text == "<p>old</p>", "relative to the former prefix"
    assert "access-control-allow-origin" not in documented.get("/clip.ism/.mpd").headers
    log = (documented.stack.run / "logs" / "access.log").read_text()
    assert '"GET /clip.ism/.m3u8 HTTP/1.1" 200' in log, "in the format of before"
    assert "usp_handle_api" not in documented.done.stderr


def test_the_configuration_of_a_distribution(distribution: Migrated) -> None:
    assert len(distribution.plays("/clip.ism/.m3u8")) > 1000
    manifest = distribution.get("/clip.ism/.mpd")
    assert manifest.headers["access-control-allow-origin"] == "https://player.example.com"
    assert manifest.headers["x-served-by"] == "edge {1}"
    assert distribution.client.request("/clip.ism/.mpd", method="OPTIONS").status == 204
    assert distribution.get("/clip.ism/.mpd", Host="blocked.example.com").status == 403
    assert len(distribution.plays("/archive/clip.ism/.m3u8")) > 1000, "its alias"
    assert distribution.get("/archive/other.ism/.m3u8").status == 404
    assert distribution.get("/clip.ism").status == 403
    metrics = distribution.stack.admin
    assert metrics.request("/healthz").status == 200
    assert 'result="FMP4_OK"' in metrics.request("/metrics").text, "its own log_by_lua and ours"
    metrics.close()


def test_the_configuration_of_the_ancestors(ancestor: Migrated) -> None:
    assert len(ancestor.plays("/clip.ism/.m3u8")) > 1000
    part = ancestor.get("/clip.mp4", Range="bytes=0-99")
    assert (part.status, len(part.body)) == (206, 100)
    assert ancestor.get("/clip.mp4?start=1").status == 200
    # What the administrator rewrites is understood in the rewritten form.
    assert ancestor.get("/example/clip.ism/.m3u8").status == 200
    assert ancestor.get("/cloud/clip.ism/.m3u8").status == 404, "nothing of it is here"
    assert ancestor.get("/packaged/clipSeg1-Frag1").status == 404
    assert "very secret" not in ancestor.done.stderr


@pytest.mark.parametrize("name", ["documented/conf", "distribution", "ancestor/conf"])
def test_the_result_is_good(name: str, tmp_path: Path) -> None:
    done = origin("migrate", "--prefix", "/usr", CONFIGURATIONS / name / "nginx.conf")
    assert done.returncode == 0
    conf = tmp_path / "openresty.conf"
    conf.write_text(done.stdout)
    checked = origin("check-conf", "--conf", conf)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http {\n", "nginx.conf:1: unexpected end of file"),
        ("events { }\nhttp { }\n", "has no directive of the original module"),
    ],
)
def test_nothing_to_migrate(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "nginx.conf").write_text(text)
    done: subprocess.CompletedProcess[str] = origin("migrate", tmp_path / "nginx.conf")
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
