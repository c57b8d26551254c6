"""What openresty.conf has as comments, in force."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from lxml import etree

from sidecar.rpc import origin_pb2 as pb
from tests.support.fake_sidecar import FakeStack, fake_stack, inline, refusal
from tests.support.stack import free_port
from tests.support.tls import listen


def in_force(text: str, first: str) -> str:
    """``text`` with the block that begins with the comment ``# first`` no comment any more."""
    match = re.search(rf"^( *)# {re.escape(first)} \{{\n(\1# {{2,}}[^\n]*\n)*\1# \}}\n", text, re.M)
    assert match, first
    block = re.sub(rf"^{match[1]}# ?", match[1], match[0], flags=re.MULTILINE)
    return text[: match.start()] + block + text[match.end() :]


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeStack]:
    root = tmp_path_factory.mktemp("examples")

    def edit(text: str) -> str:
        for first in (
            "map $sent_http_content_type $origin_expires",
            "location = /crossdomain.xml",
            "location = /clientaccesspolicy.xml",
            r"location ~* \.mp4$",
        ):
            text = in_force(text, first)
        expires = "expires $origin_expires;"
        return text.replace("        root media;\n", f"        root media;\n        {expires}\n", 1)

    with fake_stack(root, edit=edit) as running:
        yield running


@pytest.mark.parametrize(
    ("name", "root_element"),
    [("crossdomain.xml", "cross-domain-policy"), ("clientaccesspolicy.xml", "access-policy")],
)
def test_policies_of_plug_ins(examples: FakeStack, name: str, root_element: str) -> None:
    answer = examples.client().get(f"/{name}")
    assert answer.headers["content-type"] == "application/xml"
    document = etree.fromstring(answer.body)
    assert document.tag == root_element
    assert document.xpath("//allow-access-from/@domain | //allow-from/domain/@uri") == ["*"]


def test_mp4_files_that_are_sources_are_not_for_download(examples: FakeStack) -> None:
    examples.sidecar.answer = lambda request, context: pb.PlanReply(plan=inline(b"made"))
    (examples.media / "source.mp4").write_bytes(b"source")
    client = examples.client()
    assert client.request("/source.mp4").status == 403
    assert client.get("/source.mp4/.m3u8").body == b"made"


@pytest.mark.parametrize(
    ("content_type", "seconds"),
    [
        ("video/mp4", 3600),
        ("audio/mp4", 3600),
        ("video/mp2t", 3600),
        ("application/mp4", 3600),
        ("application/vnd.apple.mpegurl", 10),
        ("application/dash+xml", 10),
        ("application/vnd.ms-sstr+xml", 10),
        ("application/f4m+xml", 10),
        ("video/abst", None),
        ("text/html", None),
    ],
)
def test_how_long_caches_keep_answers(
    examples: FakeStack, content_type: str, seconds: int | None
) -> None:
    made = inline(b"made", content_type=content_type)
    examples.sidecar.answer = lambda request, context: pb.PlanReply(plan=made)
    path = f"/{content_type.replace('/', '-')}.ism/x"
    headers = examples.client().get(path).headers
    assert headers.get("cache-control") == (seconds and f"max-age={seconds}")
    assert ("expires" in headers) is (seconds is not None)


def test_refusals_are_not_kept(examples: FakeStack) -> None:
    def answer(request: pb.PlanRequest, context: Any) -> pb.PlanReply:
        plan = refusal(pb.FMP4_FRAGMENT_NOT_AVAILABLE, 404, "Not yet.")
        plan.content_type = "video/mp4"
        return pb.PlanReply(plan=plan)

    examples.sidecar.answer = answer
    response = examples.client().request("/refused.ism/x")
    assert response.status == 404
    assert "cache-control" not in response.headers
    assert "expires" not in response.headers


def test_http_2_over_tls(examples: FakeStack) -> None:
    """The lines that openresty.conf has for it are those that the other tests use."""
    text = (examples.root / "openresty.conf").read_text()
    lines = re.findall(r"^ +# ((?:listen \d+ ssl|ssl_certificate(?:_key)?)\b.*;)$", text, re.M)
    made = listen(examples.root, free_port())
    assert [line.split()[0] for line in lines] == [line.split()[0] for line in made.splitlines()]
    assert lines[0].endswith("ssl http2;")
