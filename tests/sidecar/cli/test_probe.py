"""What there is to play, and whether somebody listens."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from sidecar.cli import probe


def test_server_manifests_come_first_and_alone(tmp_path: Path) -> None:
    for name in ("b.ism", "a b/c ü.ism", "film.mp4", ".hidden/x.ism", "a b/.y.ism", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert probe.playable(tmp_path, 10) == ["/b.ism", "/a%20b/c%20%C3%BC.ism"]
    assert probe.playable(tmp_path, 1) == ["/b.ism"]


def test_media_files_where_there_is_no_manifest(tmp_path: Path) -> None:
    for name in ("film.mp4", "film.txt"):
        (tmp_path / name).touch()
    assert probe.playable(tmp_path, 10) == ["/film.mp4"]
    assert probe.playable(tmp_path / "absent", 10) == []


def test_a_port_in_use_is_not_free() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert not probe.port_is_free(listener.getsockname()[1])
    assert probe.port_is_free(probe.free_port())


def test_what_does_not_speak_http_is_an_os_error() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(OSError, match="timed out"):
            probe.get(listener.getsockname()[1], "/", 0.1)
    with pytest.raises(OSError, match="refused"):
        probe.get(probe.free_port(), "/", 1)
