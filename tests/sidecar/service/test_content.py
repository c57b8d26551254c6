"""Requests reach files inside the document root only, whatever names and symlinks say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sidecar.errors import BadRequest, Forbidden, NotFound, OriginError
from sidecar.service.content import Content, resolve, resolve_source


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A document root with a manifest in a folder; secrets beside it."""
    root = tmp_path / "root"
    (root / "vod").mkdir(parents=True)
    for name in ("vod/video.ism", "vod/a.mp4", "vod/subs.vtt", "top.mp4"):
        (root / name).write_bytes(b"x")
    (tmp_path / "root-private").mkdir()
    (tmp_path / "root-private" / "secret.mp4").write_bytes(b"x")
    (tmp_path / "secret.ism").write_bytes(b"x")
    return root


@pytest.fixture
def manifest(root: Path) -> Content:
    return resolve(str(root), "/vod/video.ism")


def test_a_manifest_by_its_path(root: Path) -> None:
    content = resolve(f"{root}/", "/vod/video.ism")
    assert content.path == str(root / "vod" / "video.ism")
    assert content.asked == str(root / "vod" / "video.ism")
    assert (content.name, content.is_manifest) == ("video", True)


def test_text_is_served_as_part_of_a_manifest_only(root: Path, manifest: Content) -> None:
    assert resolve_source(manifest, "subs.vtt") == str(root / "vod" / "subs.vtt")
    with pytest.raises(NotFound, match=r"\*\.vtt are not served"):
        resolve(str(root), "/vod/subs.vtt")


def test_a_media_file_without_manifest(root: Path) -> None:
    content = resolve(str(root), "/top.mp4")
    assert (content.name, content.is_manifest) == ("top", False)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/../secret.ism", Forbidden),
        ("/vod/../../secret.ism", Forbidden),
        ("/../root-private/secret.mp4", Forbidden),
        ("/../absent.ism", Forbidden),
        ("/../../../../../../etc/absent.mp4", Forbidden),
        ("/vod/absent.ism", NotFound),
        ("/vod/video.ism/a.mp4", NotFound),
        ("/vod/video.txt", NotFound),
        ("/vod/subs.vtt", NotFound),
        ("/vod", NotFound),
        ("/" + "a" * 300 + ".ism", NotFound),
        ("/vod/video.ism\0.mp4", BadRequest),
        ("vod/video.ism", BadRequest),
        ("", BadRequest),
    ],
)
def test_names_that_are_refused(root: Path, path: str, error: type[OriginError]) -> None:
    with pytest.raises(error) as refused:
        resolve(str(root), path)
    assert str(root.parent) not in refused.value.sentence


def test_a_relative_document_root_is_refused() -> None:
    with pytest.raises(BadRequest):
        resolve("media", "/video.ism")


def test_a_symlinked_root_is_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    content = resolve(str(tmp_path / "link"), "/vod/video.ism")
    assert content.path == str(root / "vod" / "video.ism")
    assert content.asked == str(tmp_path / "link" / "vod" / "video.ism")


def test_a_symlink_inside_the_root_is_followed(root: Path) -> None:
    (root / "alias.ism").symlink_to("vod/video.ism")
    content = resolve(str(root), "/alias.ism")
    assert content.path == str(root / "vod" / "video.ism")
    assert content.name == "alias"


@pytest.mark.parametrize("target", ["../secret.ism", "../root-private/secret.mp4", "/etc/passwd"])
def test_symlinks_out_of_the_root_are_refused(root: Path, target: str) -> None:
    (root / "out.ism").symlink_to(target)
    with pytest.raises(Forbidden):
        resolve(str(root), "/out.ism")


def test_symlink_loops_are_not_found(root: Path) -> None:
    (root / "loop.ism").symlink_to("loop.ism")
    with pytest.raises(NotFound):
        resolve(str(root), "/loop.ism")


@pytest.mark.parametrize("src", ["a.mp4", "./a.mp4", "../vod/a.mp4", "../top.mp4"])
def test_sources_relative_to_the_manifest(root: Path, manifest: Content, src: str) -> None:
    assert resolve_source(manifest, src) == os.path.realpath(root / "vod" / src)


def test_an_absolute_source_inside_the_root(root: Path, manifest: Content) -> None:
    assert resolve_source(manifest, str(root / "top.mp4")) == str(root / "top.mp4")


@pytest.mark.parametrize(
    ("src", "error"),
    [
        ("../../root-private/secret.mp4", Forbidden),
        ("../../absent.mp4", Forbidden),
        ("/etc/passwd", Forbidden),
        ("http://example.org/a.mp4", Forbidden),
        ("file:///etc/passwd", Forbidden),
        ("a.mp4\0", Forbidden),
        ("", Forbidden),
        ("absent.mp4", NotFound),
    ],
)
def test_sources_that_are_refused(manifest: Content, src: str, error: type[OriginError]) -> None:
    with pytest.raises(error) as refused:
        resolve_source(manifest, src)
    assert manifest.root not in refused.value.sentence


def test_a_source_symlinked_out_of_the_root_is_refused(root: Path, manifest: Content) -> None:
    (root / "vod" / "out.mp4").symlink_to(root.parent / "root-private" / "secret.mp4")
    with pytest.raises(Forbidden):
        resolve_source(manifest, "out.mp4")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read_is_refused(root: Path) -> None:
    (root / "vod").chmod(0)
    try:
        with pytest.raises(Forbidden):
            resolve(str(root), "/vod/video.ism")
    finally:
        (root / "vod").chmod(0o755)
