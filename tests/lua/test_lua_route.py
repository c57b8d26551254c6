"""From URLs to presentations and options."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.lua import Lua

LUA = Lua()
ROUTE = LUA.require("route")
ARGS = LUA.require("args")


@pytest.mark.parametrize(
    ("uri", "path", "virtual_path"),
    [
        ("/a.ism/.m3u8", "/a.ism", ".m3u8"),
        ("/v/a.ism/dash/a-v=1-0.dash", "/v/a.ism", "dash/a-v=1-0.dash"),
        ("/v/a.mp4/.mpd", "/v/a.mp4", ".mpd"),
        ("/v/a.isml/Manifest", "/v/a.isml", "Manifest"),
        ("/x.mp4/y.ism/.mpd", "/x.mp4/y.ism", ".mpd"),
        ("/x.ism/y.mp4/hls/a.m4s", "/x.ism/y.mp4", "hls/a.m4s"),
        ("/a.ism/b.ism.m3u8", "/a.ism", "b.ism.m3u8"),
        ("/Ünï cödé.ism/.mpd", "/Ünï cödé.ism", ".mpd"),
        ("/a.ism/QualityLevels(1)/Fragments(v=0)", "/a.ism", "QualityLevels(1)/Fragments(v=0)"),
        ("/a.ism/b.mp4", "/a.ism", "b.mp4"),
        ("/v/a.mp4", "/v/a.mp4", ""),
        ("/a.b/.c.mp4", "/a.b/.c.mp4", ""),
    ],
)
def test_urls_split_behind_the_last_presentation(uri: str, path: str, virtual_path: str) -> None:
    assert ROUTE.split(uri.encode()) == (path.encode(), virtual_path.encode(), None)


@pytest.mark.parametrize(
    ("uri", "result"),
    [
        (b"/a.ism", b"FMP4_FORBIDDEN"),
        (b"/v/a.isml", b"FMP4_FORBIDDEN"),
        (b"/v//a.ism", b"FMP4_FORBIDDEN"),
        (b"/.ism", b"FMP4_NOT_FOUND"),
        (b"/a.ism/", b"FMP4_NOT_FOUND"),
        (b"/.ism/.mpd", b"FMP4_NOT_FOUND"),
        (b"/a.mp4/", b"FMP4_NOT_FOUND"),
        (b"/.mp4", b"FMP4_NOT_FOUND"),
        (b"/v//a.mp4", b"FMP4_NOT_FOUND"),
        (b"/../a.mp4", b"FMP4_BAD_REQUEST"),
        (b"/v//a.ism/.mpd", b"FMP4_NOT_FOUND"),
        (b"/a.txt/.mpd", b"FMP4_NOT_FOUND"),
        (b"a.ism/.mpd", b"FMP4_NOT_FOUND"),
        (b"", b"FMP4_NOT_FOUND"),
        (b"/", b"FMP4_NOT_FOUND"),
        (b"/a.ism/\x00.mpd", b"FMP4_BAD_REQUEST"),
        (b"/a.ism/.mpd\r\nX: y", b"FMP4_BAD_REQUEST"),
        (b"/../etc/a.ism/.mpd", b"FMP4_BAD_REQUEST"),
        (b"/a.ism/../b.ism/.mpd", b"FMP4_BAD_REQUEST"),
        (b"/a.ism/..", b"FMP4_BAD_REQUEST"),
        (b"/a.ism/./.mpd", b"FMP4_BAD_REQUEST"),
        (b"/..\\a.ism/.mpd", b"FMP4_BAD_REQUEST"),
        (b"/\xff.ism/.mpd", b"FMP4_BAD_REQUEST"),
        (b"/a.ism/" + b"x" * 3000, b"FMP4_BAD_REQUEST"),
    ],
)
def test_hostile_and_empty_urls_never_reach_the_sidecar(uri: bytes, result: bytes) -> None:
    assert ROUTE.split(uri) == (None, result)


@pytest.mark.parametrize(
    ("uri", "path", "virtual_path"),
    [
        ("/hds/videoSeg1-Frag7", "/hds/videoSeg1.f4f", "Seg1-Frag7"),
        ("/Seg12-Frag345", "/Seg12.f4f", "Seg12-Frag345"),
        ("/aSeg1-Frag1Seg2-Frag3", "/aSeg1-Frag1Seg2.f4f", "Seg2-Frag3"),
    ],
)
def test_fragments_of_packaged_hds(uri: str, path: str, virtual_path: str) -> None:
    found = (path.encode(), virtual_path.encode(), True)
    for ism in (False, True):
        assert ROUTE.split(uri.encode(), ism, True) == found
        assert ROUTE.split(uri.encode(), ism, False)[1] == b"FMP4_NOT_FOUND"
    assert ROUTE.split(uri.encode())[1] == b"FMP4_NOT_FOUND"


@pytest.mark.parametrize(
    "uri",
    [
        "/videoSeg0-Frag1",
        "/videoSeg1-Frag01",
        "/videoSeg1-Frag",
        "/videoSeg1-Frag1/x",
        "/x//videoSeg1-Frag1",
        "/videoSeg1.f4f",
        "/video.ism/.m3u8",
        "/video.mp4",
    ],
)
def test_all_else_is_not_there_where_only_packaged_hds_is(uri: str) -> None:
    assert ROUTE.split(uri.encode(), False, True)[:2] == (None, b"FMP4_NOT_FOUND")


def test_below_a_presentation_fragments_are_the_presentations() -> None:
    found = ROUTE.split(b"/v/a.ism/a-video=1-Seg1-Frag2", True, True)
    assert found == (b"/v/a.ism", b"a-video=1-Seg1-Frag2", None)


@given(st.binary(max_size=60) | st.text("/.ismp4l\\\0%é", max_size=40).map(str.encode))
def test_what_is_split_is_clean(uri: bytes) -> None:
    path, virtual_path, *_ = ROUTE.split(uri)
    if path is None:
        assert virtual_path in (b"FMP4_NOT_FOUND", b"FMP4_BAD_REQUEST")
        return
    if virtual_path:
        assert path + b"/" + virtual_path == uri
    else:
        assert path == uri and path.endswith(b".mp4")
    assert path.endswith((b".ism", b".isml", b".mp4"))
    assert not {b"..", b"."} & set(uri.split(b"/"))
    assert all(byte >= 32 and byte != 127 for byte in uri)
    uri.decode()


@pytest.mark.parametrize(
    ("query", "reduced"),
    [
        (None, b""),
        (b"", b""),
        (b"session=1&token=x", b""),
        (b"hls_fmp4", b"hls_fmp4"),
        (
            b"x=1&mpd_segment_template=number&hls_fmp4=true",
            b"hls_fmp4=true&mpd_segment_template=number",
        ),
        (b"hls_minimum_fragment_length=48%2F25", b"hls_minimum_fragment_length=48%2F25"),
        (b"hls%5Ffmp4=true", b"hls_fmp4=true"),
        (b"hls.no-multiplex", b"hls_no_multiplex"),
        (b"hls_fmp4=1&hls_fmp4=0", b"hls_fmp4=1&hls_fmp4=0"),
        (b"&&hls_fmp4&&", b"hls_fmp4"),
        (b"=hls_fmp4", b""),
        (b"hls_fmp4=" + b"x" * 7000, b""),
        (b"hls_fmp4=\xff", b"hls_fmp4=%FF"),
    ],
)
def test_queries_are_reduced_to_options_in_order(query: bytes | None, reduced: bytes) -> None:
    assert ARGS.reduce(query) == reduced


@given(
    st.permutations(
        [b"a=1", b"hls_fmp4=true", b"mpd_segment_template=number", b"zz", b"hls_no_multiplex"]
    )
)
def test_the_order_of_options_does_not_matter(parameters: list[bytes]) -> None:
    once = ARGS.reduce(b"&".join(parameters))
    assert once == b"hls_fmp4=true&hls_no_multiplex&mpd_segment_template=number"
    assert ARGS.reduce(once) == once


@given(st.binary(max_size=200))
def test_any_query_gives_a_line_of_ascii(query: bytes) -> None:
    reduced = ARGS.reduce(query)
    reduced.decode("ascii")
    assert ARGS.reduce(reduced) == reduced


@pytest.mark.parametrize(
    ("uri", "query", "plain"),
    [
        ("/a.ism", "file=.mpd", "/a.ism/.mpd"),
        ("/v/a.ism", "file=dash/a-v%3d1-0.dash&hls_fmp4", "/v/a.ism/dash/a-v=1-0.dash"),
        ("/v/a.isml", "x=1&file=Manifest", "/v/a.isml/Manifest"),
        ("/v/a.mp4", "file=.m3u8", "/v/a.mp4/.m3u8"),
        ("/a.ism", "file=%252e.mpd", "/a.ism/%2e.mpd"),
        ("/a.ism", "file=a+b%20c.mpd", "/a.ism/a+b c.mpd"),
        ("/a.ism", "file=b.ism.m3u8", "/a.ism/b.ism.m3u8"),
    ],
)
def test_the_rewritten_form_is_the_plain_one(uri: str, query: str, plain: str) -> None:
    for only in (False, True):
        assert ROUTE.unrewrite(uri.encode(), query.encode(), only) == plain.encode()


@pytest.mark.parametrize(
    ("uri", "query"),
    [
        ("/a.ism/.mpd", None),
        ("/a.ism/.mpd", "file=.m3u8"),
        ("/a.ism/b.mp4", "file=.m3u8"),
        ("/a.ism/b.ism", "file=.m3u8"),
        ("/a.txt", "file=.mpd"),
        ("/.ism", "file=.mpd"),
    ],
)
def test_only_the_rewritten_form_with_usp_skip_rewrite(uri: str, query: str | None) -> None:
    raw = None if query is None else query.encode()
    assert ROUTE.unrewrite(uri.encode(), raw, False) == uri.encode()
    assert ROUTE.unrewrite(uri.encode(), raw, True) == (None, b"FMP4_NOT_FOUND")


@pytest.mark.parametrize("only", [False, True])
@pytest.mark.parametrize(
    ("uri", "query"),
    [("/v/a.mp4", None), ("/v/a.mp4", "xfile=1&start=3"), ("/a.ism", None), ("/a", None)],
)
def test_without_a_file_nothing_is_rewritten(uri: str, query: str | None, only: bool) -> None:
    raw = None if query is None else query.encode()
    assert ROUTE.unrewrite(uri.encode(), raw, only) == uri.encode()


@pytest.mark.parametrize("only", [False, True])
@pytest.mark.parametrize(
    "query",
    [
        b"file=",
        b"file=.mpd&file=.m3u8",
        b"file=.mpd&file=.mpd",
        b"file=..",
        b"file=%2e%2e/b.ism/.mpd",
        b"file=dash/../../b.ism/.mpd",
        b"file=./.mpd",
        b"file=..%5cb",
        b"file=/etc/passwd",
        b"file=%2Fetc/passwd",
        b"file=%00.mpd",
        b"file=.mpd%0d%0aX:%20y",
        b"file=%ff",
        b"file=%",
        b"file=.mpd%2",
        b"file=%zz",
        b"file=%%30",
        b"file=b.ism/.mpd",
        b"file=b.mp4/.mpd",
        b"file=" + b"x" * 3000,
    ],
)
def test_hostile_files_are_refused(query: bytes, only: bool) -> None:
    assert ROUTE.unrewrite(b"/v/a.ism", query, only) == (None, b"FMP4_BAD_REQUEST")


def test_packaged_hds_is_not_rewritten() -> None:
    uri = b"/hds/videoSeg1-Frag7"
    for only in (False, True):
        assert ROUTE.unrewrite(uri, b"file=x", only, True) == uri


@given(
    st.binary(max_size=30) | st.text("/.ismp4", max_size=30).map(str.encode),
    st.binary(max_size=40) | st.text("/.ism%2e&=", max_size=30).map(str.encode),
    st.booleans(),
)
def test_a_rewritten_uri_is_what_split_sees(name: bytes, value: bytes, only: bool) -> None:
    uri = b"/v/" + name + b".ism"
    found = ROUTE.unrewrite(uri, b"file=" + value, only)
    if isinstance(found, tuple):
        assert found[1] in (b"FMP4_BAD_REQUEST", b"FMP4_NOT_FOUND")
    elif found != uri:
        path, virtual_path, *_ = ROUTE.split(found)
        assert path == uri
        assert path + b"/" + virtual_path == found
