"""URLs in one form, and the ways in which text can look like one."""

from __future__ import annotations

import pytest

from sidecar.storage.urls import canonical, endpoint, host_header, joined


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://h.example", "http://h.example/"),
        ("HTTPS://H.Example.:443/A/", "https://h.example/A/"),
        ("http://h:80/", "http://h/"),
        ("http://h:8080/a", "http://h:8080/a"),
        ("https://h:80/a", "https://h:80/a"),
        ("http://h/a%20b+c~(1).mp4", "http://h/a%20b%2Bc~%281%29.mp4"),
        ("http://h/%7Ea", "http://h/~a"),
        ("http://h/%e4%bd%a0", "http://h/%E4%BD%A0"),
        ("http://192.0.2.1/a", "http://192.0.2.1/a"),
        ("http://[2001:DB8::0:1]:81/a", "http://[2001:db8::1]:81/a"),
    ],
)
def test_one_form(text: str, expected: str) -> None:
    assert canonical(text) == expected
    assert canonical(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", "/a", "//h/a", "file:///etc/passwd", "ftp://h/a", "http:/h/a"),
        *("http:///a", "http://user@h/a", "http://user:word@h/a", "http://h/a?b", "http://h/a#b"),
        *(
            "http://h/a\r\nHost: x",
            "http://h/a b",
            "http://h\\@x/a",
            "http://h/a\\b",
            "http://h/\0",
        ),
        *("http://h/a/../b", "http://h/%2e%2e/b", "http://h/./b", "http://h//b", "http://h/a//b"),
        *(
            "http://h/a%2fb",
            "http://h/a%2Fb",
            "http://h/a%5cb",
            "http://h/a%0d%0ab",
            "http://h/%00",
        ),
        *("http://h/a%252fb", "http://h/%252e%252e/b", "http://h/a%255cb", "http://h/a%2525"),
        *("http://h/%ff", "http://h:0x50/", "http://h:99999/", "http://h:a/", "http://-h/"),
        *(
            "http://h..x/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://h_ü/",
        ),
        *("http://[::1%25lo]/", "http://[::g]/", "http://%31%32%37.0.0.1/"),
    ],
)
def test_what_is_no_url(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        canonical(text)


@pytest.mark.parametrize(
    ("src", "expected"),
    [
        ("c.mp4", "https://h:81/a/b/c.mp4"),
        ("c d.mp4", "https://h:81/a/b/c%20d.mp4"),
        ("c%20d.mp4", "https://h:81/a/b/c%20d.mp4"),
        ("./x/../c.mp4", "https://h:81/a/b/c.mp4"),
        ("../../c.mp4", "https://h:81/c.mp4"),
        ("/c.mp4", "https://h:81/c.mp4"),
        ("http://Other/c.mp4", "http://other/c.mp4"),
    ],
)
def test_relative_to_a_document(src: str, expected: str) -> None:
    assert joined("https://h:81/a/b/video.ism", src) == expected


@pytest.mark.parametrize(
    "src",
    [
        *("../../../c.mp4", "%2e%2e/%2e%2e/%2e%2e/c.mp4", "/../c.mp4", "//other/c.mp4"),
        *("file:/etc/passwd", "file:///etc/passwd", "data:,x", "c.mp4?x=y", "c.mp4#t=1"),
        *("a%2fc.mp4", "a\\c.mp4", "a\rb.mp4", "a%0ab.mp4", "a//c.mp4", ""),
    ],
)
def test_what_leads_nowhere(src: str) -> None:
    if src == "":
        assert joined("https://h/a/b.ism", src) == "https://h/a/"
        return
    with pytest.raises(ValueError, match=r".+"):
        joined("https://h/a/b/video.ism", src)


def test_where_to_connect() -> None:
    assert endpoint("https://h/a") == ("https", "h", 443)
    assert endpoint("http://[2001:db8::1]:81/a") == ("http", "2001:db8::1", 81)
    assert host_header("http://[2001:db8::1]:81/a") == "[2001:db8::1]:81"
