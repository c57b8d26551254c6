"""usp_handle_f4f: fragments of packaged HDS, found by their index."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sidecar.errors import Forbidden, InvalidMedia, NotFound, OriginError
from sidecar.mux.plan import CacheClass
from sidecar.service.packaged import is_packaged, packaged_answer
from sidecar.service.reader import MediaReader
from tests.support.f4f import GlobalEntry, afra, package
from tests.support.plans import body

FRAGMENTS = {
    number: (4000 * (number - 1), b"\0\0\0\x10mdat" + bytes([number]) * 8) for number in range(1, 6)
}
BOOTSTRAP = b"\0\0\0\x09abst\0"


def get(root: Path, virtual_path: str, path: str = "/x/videoSeg1.f4f") -> bytes:
    read = MediaReader()
    plan, _ = packaged_answer(str(root), path, virtual_path, read)
    read.close()
    assert plan.content_type == "video/f4f"
    assert plan.cache_class is CacheClass.MEDIA
    assert len(plan.parts) == 1
    return body(plan)


@pytest.mark.parametrize("long_ids", [False, True])
@pytest.mark.parametrize("long_offsets", [False, True])
@pytest.mark.parametrize("before", [b"", b"\0\0\0\x08free"])
def test_each_fragment_is_what_lies_in_the_file(
    tmp_path: Path, long_ids: bool, long_offsets: bool, before: bytes
) -> None:
    written = package(
        tmp_path / "x",
        "video",
        FRAGMENTS,
        BOOTSTRAP,
        long_ids=long_ids,
        long_offsets=long_offsets,
        before=before,
    )
    for number, fragment in written.items():
        assert get(tmp_path, f"Seg1-Frag{number}") == fragment


def test_several_segments(tmp_path: Path) -> None:
    first = package(tmp_path, "video", FRAGMENTS, BOOTSTRAP)
    more = {number: FRAGMENTS[number - 5] for number in range(6, 9)}
    second = package(tmp_path, "video", more, BOOTSTRAP, segment=2)
    assert get(tmp_path, "Seg1-Frag5", "/videoSeg1.f4f") == first[5]
    assert get(tmp_path, "Seg2-Frag6", "/videoSeg2.f4f") == second[6]
    with pytest.raises(NotFound):
        get(tmp_path, "Seg1-Frag6", "/videoSeg1.f4f")


def test_several_random_access_points_of_a_fragment(tmp_path: Path) -> None:
    written = package(tmp_path / "x", "video", FRAGMENTS, BOOTSTRAP)
    at, entries = 0, []
    for number, fragment in written.items():
        entries += [
            GlobalEntry(time=0, segment=1, fragment=number, afra_offset=at, offset_from_afra=offset)
            for offset in (40, 60)
        ]
        at += len(fragment)
    (tmp_path / "x/videoSeg1.f4x").write_bytes(afra(entries=entries))
    assert get(tmp_path, "Seg1-Frag3") == written[3]


@pytest.mark.parametrize(
    ("path", "virtual_path", "error"),
    [
        ("/x/videoSeg1.f4f", "Seg1-Frag6", NotFound),
        ("/x/videoSeg1.f4f", "Seg2-Frag1", NotFound),
        ("/x/videoSeg2.f4f", "Seg2-Frag1", NotFound),
        ("/x/audioSeg1.f4f", "Seg1-Frag1", NotFound),
        ("/x/videoSeg1.f4f", "Seg1-Frag0", NotFound),
        ("/x/videoSeg1.f4f", "Seg1-Frag1.f4f", NotFound),
        ("/../x/videoSeg1.f4f", "Seg1-Frag1", OriginError),
        ("/x/../../outsideSeg1.f4f", "Seg1-Frag1", OriginError),
    ],
)
def test_what_is_not_there(
    tmp_path: Path, path: str, virtual_path: str, error: type[OriginError]
) -> None:
    root = tmp_path / "root"
    package(root / "x", "video", FRAGMENTS, BOOTSTRAP)
    package(tmp_path, "outside", FRAGMENTS, BOOTSTRAP)
    with pytest.raises(error) as caught:
        get(root, virtual_path, path)
    assert str(tmp_path) not in caught.value.sentence


@pytest.mark.parametrize("name", ["videoSeg1.f4f", "videoSeg1.f4x"])
def test_links_out_of_the_document_root(tmp_path: Path, name: str) -> None:
    package(tmp_path / "root/x", "video", FRAGMENTS, BOOTSTRAP)
    package(tmp_path / "secret", "video", FRAGMENTS, BOOTSTRAP)
    link = tmp_path / "root/x" / name
    link.unlink()
    link.symlink_to(tmp_path / "secret" / name)
    with pytest.raises(Forbidden):
        get(tmp_path / "root", "Seg1-Frag1")


def test_without_index(tmp_path: Path) -> None:
    package(tmp_path / "x", "video", FRAGMENTS, BOOTSTRAP)
    (tmp_path / "x/videoSeg1.f4x").unlink()
    with pytest.raises(NotFound):
        get(tmp_path, "Seg1-Frag1")


@pytest.mark.parametrize(
    "index",
    [
        b"",
        b"no box at all",
        b"\0\0\0\x08free",
        afra(entries=[GlobalEntry(time=0, segment=1, fragment=1, afra_offset=1)]),
        afra(entries=[GlobalEntry(time=0, segment=1, fragment=1, afra_offset=1 << 62)]),
        afra(entries=[GlobalEntry(time=0, segment=1, fragment=1, afra_offset=(1 << 64) - 1)]),
    ],
    ids=["empty", "text", "no afra", "between", "behind", "far behind"],
)
def test_damaged_index(tmp_path: Path, index: bytes) -> None:
    package(tmp_path / "x", "video", FRAGMENTS, BOOTSTRAP)
    (tmp_path / "x/videoSeg1.f4x").write_bytes(index)
    with pytest.raises(InvalidMedia) as caught:
        get(tmp_path, "Seg1-Frag1")
    assert caught.value.path.startswith(str(tmp_path))


def test_every_cut_of_an_index_is_an_error(tmp_path: Path) -> None:
    package(tmp_path / "x", "video", FRAGMENTS, BOOTSTRAP)
    index = tmp_path / "x/videoSeg1.f4x"
    data = index.read_bytes()
    for length in range(0, len(data), 7):
        index.write_bytes(data[:length])
        with pytest.raises(InvalidMedia):
            get(tmp_path, "Seg1-Frag1")


def test_an_index_too_large_to_be_one(tmp_path: Path) -> None:
    package(tmp_path / "x", "video", FRAGMENTS, BOOTSTRAP)
    os.truncate(tmp_path / "x/videoSeg1.f4x", 1 << 30)
    with pytest.raises(InvalidMedia, match="not read"):
        get(tmp_path, "Seg1-Frag1")


def test_only_where_the_location_has_it() -> None:
    assert is_packaged("/x/videoSeg1.f4f", {"usp_handle_f4f": ()})
    assert is_packaged("/x/videoSeg1.f4f", {"usp_handle_f4f": ("on",)})
    assert not is_packaged("/x/videoSeg1.f4f", {"usp_handle_f4f": ("off",)})
    assert not is_packaged("/x/videoSeg1.f4f", {})
    assert not is_packaged("/x/video.ism", {"usp_handle_f4f": ("on",)})
