"""origin_allow_src: what server manifests name may lie in folders outside the document root."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.errors import Forbidden, NotFound
from sidecar.service.content import Content, check_references, resolve, resolve_source
from sidecar.storage.local import open_local
from sidecar.storage.source import SourceIdentity


@pytest.fixture
def manifest(tmp_path: Path) -> Content:
    """``root/vod/video.ism``, allowed to name what is in ``archive``, but not ``archive-2``."""
    for name in (
        *("root/vod/video.ism", "root/vod/a.mp4"),
        *("archive/b.mp4", "archive/deep/c.mp4", "archive-2/d.mp4", "secret.mp4"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return resolve(str(tmp_path / "root"), "/vod/video.ism", allowed=[str(tmp_path / "archive")])


@pytest.mark.parametrize(
    "src",
    [
        "a.mp4",
        "{top}/archive/b.mp4",
        "{top}/archive/deep/c.mp4",
        "../../archive/b.mp4",
        "{top}/archive/deep/../b.mp4",
        "{top}/archive/../root/vod/a.mp4",
    ],
)
def test_sources_in_the_root_and_in_an_allowed_folder(
    tmp_path: Path, manifest: Content, src: str
) -> None:
    named = src.format(top=tmp_path)
    assert resolve_source(manifest, named) == str((tmp_path / "root/vod" / named).resolve())


@pytest.mark.parametrize(
    "src",
    [
        "{top}/archive/../secret.mp4",
        "{top}/archive/deep/../../secret.mp4",
        "{top}/archive-2/d.mp4",
        "../../archive-2/d.mp4",
        "{top}/archive/../absent.mp4",
        "{top}/archive",
        "/etc/passwd",
        "http://example.org/archive/b.mp4",
    ],
)
def test_sources_elsewhere(tmp_path: Path, manifest: Content, src: str) -> None:
    with pytest.raises(Forbidden) as refused:
        resolve_source(manifest, src.format(top=tmp_path))
    assert str(tmp_path) not in refused.value.sentence


def test_an_absent_source_in_an_allowed_folder(tmp_path: Path, manifest: Content) -> None:
    with pytest.raises(NotFound):
        resolve_source(manifest, f"{tmp_path}/archive/absent.mp4")


def test_links_count_by_where_they_lead(tmp_path: Path, manifest: Content) -> None:
    (tmp_path / "archive/out.mp4").symlink_to(tmp_path / "secret.mp4")
    (tmp_path / "archive/folder").symlink_to(tmp_path)
    (tmp_path / "root/vod/in.mp4").symlink_to(tmp_path / "archive/b.mp4")
    for src in (f"{tmp_path}/archive/out.mp4", f"{tmp_path}/archive/folder/secret.mp4"):
        with pytest.raises(Forbidden):
            resolve_source(manifest, src)
    assert resolve_source(manifest, "in.mp4") == str(tmp_path / "archive/b.mp4")


def test_an_allowed_folder_may_be_a_link(tmp_path: Path, manifest: Content) -> None:
    (tmp_path / "link").symlink_to("archive")
    linked = resolve(manifest.root, "/vod/video.ism", allowed=[str(tmp_path / "link")])
    assert resolve_source(linked, f"{tmp_path}/link/b.mp4") == str(tmp_path / "archive/b.mp4")
    with pytest.raises(Forbidden):
        resolve_source(linked, f"{tmp_path}/link/../secret.mp4")


def test_an_allowed_folder_that_is_not_there(tmp_path: Path, manifest: Content) -> None:
    later = resolve(manifest.root, "/vod/video.ism", allowed=[str(tmp_path / "later")])
    with pytest.raises(Forbidden):
        resolve_source(later, f"{tmp_path}/archive/b.mp4")
    with pytest.raises(NotFound):
        resolve_source(later, f"{tmp_path}/later/b.mp4")


def test_what_is_asked_for_lies_in_the_root_all_the_same(tmp_path: Path, manifest: Content) -> None:
    (tmp_path / "root/linked.mp4").symlink_to(tmp_path / "archive/b.mp4")
    with pytest.raises(Forbidden):
        resolve(manifest.root, "/linked.mp4", allowed=manifest.allowed)


def test_files_that_media_files_refer_to(tmp_path: Path, manifest: Content) -> None:
    def identity(name: str) -> SourceIdentity:
        with open_local(str(tmp_path / name)) as source:
            return source.identity

    check_references(manifest, [identity("root/vod/a.mp4"), identity("archive/b.mp4")])
    with pytest.raises(Forbidden):
        check_references(manifest, [identity("archive-2/d.mp4")])
