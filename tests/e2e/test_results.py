"""What requests end in, by format, and the statuses that a header filter makes of that."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.front import Front, front
from tests.support.raw_http import RawResponse, connect
from tests.support.stack import Stack

# The snippet as users have it, in the location that answers on-demand presentations.
SNIPPET = """
            header_filter_by_lua "
              ngx.header['X-Result'] = ngx.ctx.origin.result
              if ngx.status == FMP4_FRAGMENT_MISSING then
                ngx.status = 204
              end
              if ngx.status == FMP4_FRAGMENT_NOT_AVAILABLE then
                ngx.status = 204
              end
            ";
"""
LOCATION = r"        location ~ \.([is]sml?|mp4)/ {" + "\n"


@pytest.fixture(scope="module")
def filtered(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    def edit(text: str) -> str:
        assert text.count(LOCATION) == 1
        return text.replace(LOCATION, LOCATION + SNIPPET)

    with front(stack, tmp_path_factory.mktemp("filtered"), edit) as running:
        yield running


# Per virtual path of /ladder.ism: what it ends in, and the status without a header filter.
CASES = [
    ("hls/x-video=200000-0.m4s", "NOT_FOUND", 404),
    ("hls/x-video=200000-99.m4s", "NOT_AVAILABLE", 404),
    ("x-video=200000-0.ts", "NOT_FOUND", 404),
    ("x-video=200000-99.ts", "NOT_AVAILABLE", 404),
    ("dash/x-video=200000-0.m4s", "NOT_FOUND", 410),
    ("dash/x-video=200000-99.m4s", "NOT_AVAILABLE", 404),
    ("dash/x-video=200000-7.dash", "MISSING", 404),
    ("dash/x-video=200000-999999999999.dash", "NOT_AVAILABLE", 404),
    ("QualityLevels(200000)/Fragments(video=7)", "MISSING", 412),
    ("QualityLevels(200000)/Fragments(video=999999999999)", "NOT_AVAILABLE", 412),
    ("x-video=200000-Seg1-Frag0", "NOT_FOUND", 404),
    ("x-video=200000-Seg1-Frag99", "NOT_AVAILABLE", 503),
]


def ask(port: int, virtual_path: str) -> RawResponse:
    """The answer; the connection has to be good for one more request."""
    with connect(port) as connection:
        answer, after = connection.ask(
            f"GET /ladder.ism/{virtual_path}\n\n", "GET /ladder.ism/.mpd\n\n"
        )
    assert (after.status, after.all("content-type")) == (200, ["application/dash+xml"])
    return answer


@pytest.mark.parametrize(("virtual_path", "result", "status"), CASES)
def test_segments_that_there_are_not(
    stack: Stack, filtered: Front, bitrate: str, virtual_path: str, result: str, status: int
) -> None:
    virtual_path = virtual_path.replace("200000", bitrate)
    plain = ask(int(stack.base.rpartition(":")[2]), virtual_path)
    assert plain.status == status
    assert re.fullmatch(rb"[a-z][^/\n]*\n", plain.body), plain.body
    mapped = ask(filtered.port, virtual_path)
    assert mapped.all("x-result") == [f"FMP4_FRAGMENT_{result}"]
    if result == "NOT_FOUND":
        assert (mapped.status, mapped.body) == (status, plain.body)
    else:
        assert (mapped.status, mapped.body) == (204, b"")
        assert not mapped.all("content-length") + mapped.all("content-type")


@pytest.fixture(scope="module")
def bitrate(stack: Stack) -> str:
    """The bitrate of a video rendition."""
    text = (stack.media / "ladder.ism").read_text()
    return re.findall(r'<video[^>]* systemBitrate="(\d+)"', text)[0]
