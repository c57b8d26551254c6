"""Directive blocks: nginx's grammar, contexts, arguments, and the errors that stop a start."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.lua import Lua, plain

LUA = Lua()
GRAMMAR = LUA.require("directives.grammar")
DIRECTIVES = LUA.require("directives")

# One row of every kind, some of which travel to the sidecar.
ROWS = LUA.run(
    """
    return {
        { name = "usp_handle_ism", contexts = { location = true }, kind = "flag", default = false },
        { name = "origin_cors", contexts = { http = true, location = true }, kind = "flag",
          default = true },
        { name = "origin_depth", contexts = { http = true, location = true }, kind = "number",
          min = 0, max = 9, default = 3, sidecar = true },
        { name = "origin_memory", contexts = { http = true }, kind = "size", max = 1048576,
          default = 1024, sidecar = true },
    }
    """
)


def parse(text: str) -> Any:
    found = GRAMMAR.parse(text.encode())
    if isinstance(found, tuple):
        return found
    return [
        (one[b"name"], one[b"line"], [one[index + 1] for index in range(len(one))])
        for one in (found[index + 1] for index in range(len(found)))
    ]


def read(text: str, context: str = "location") -> Any:
    return DIRECTIVES.read(text.encode(), context.encode(), ROWS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\t ", []),
        ("# nothing; here\n", []),
        ("a;", [(b"a", 1, [])]),
        ("a b  c\t;", [(b"a", 1, [b"b", b"c"])]),
        ("a\n  b\n;\n c d;", [(b"a", 1, [b"b"]), (b"c", 4, [b"d"])]),
        ("a b;c d;", [(b"a", 1, [b"b"]), (b"c", 1, [b"d"])]),
        ("a b#c;", [(b"a", 1, [b"b#c"])]),
        ("a # b\n c;", [(b"a", 1, [b"c"])]),
        ("a 'b; c' \"d # e\";", [(b"a", 1, [b"b; c", b"d # e"])]),
        ("a '';", [(b"a", 1, [b""])]),
        (r'a "b\"c" ' + r"'d\'e' f\\g h\ti;", [(b"a", 1, [b'b"c', b"d'e", b"f\\g", b"h\ti"])]),
        (r"a b\;c \.mp4$;", [(b"a", 1, [b"b\\;c", b"\\.mp4$"])]),
        ("a b'c';", [(b"a", 1, [b"b'c'"])]),
        ("a 'x\ny' z;\nb;", [(b"a", 1, [b"x\ny", b"z"]), (b"b", 3, [])]),
    ],
)
def test_the_grammar_of_nginx(text: str, expected: Any) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "error", "line"),
    [
        (";", b'unexpected ";"', 1),
        ("a;\n;", b'unexpected ";"', 2),
        ("a", b'directive "a" does not end with ";"', 1),
        ("\n\na b", b'directive "a" does not end with ";"', 3),
        ("a {", b'unexpected "{"', 1),
        ("a;\n}", b'unexpected "}"', 2),
        ("a\n'b;", b"a quote is not closed", 2),
        ("a 'b'c;", b'unexpected "c" behind a quote', 1),
    ],
)
def test_what_the_grammar_refuses(text: str, error: bytes, line: int) -> None:
    assert parse(text) == (None, error, line)


CONTROL = "".join(map(chr, [*range(9), 11, 12, *range(14, 32), 127]))
WORD = st.text(st.characters(codec="utf-8", exclude_characters=CONTROL), max_size=12)


@given(st.lists(st.lists(WORD, min_size=1, max_size=4), max_size=5))
def test_quoted_words_come_out_as_they_went_in(directives: list[list[str]]) -> None:
    def quote(word: str) -> str:
        return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'

    text = "\n".join(" ".join(map(quote, words)) + ";" for words in directives)
    expected = [(words[0].encode(), [word.encode() for word in words[1:]]) for words in directives]
    assert [(name, args) for name, _, args in parse(text)] == expected


@given(st.binary(max_size=80))
def test_any_text_is_read_or_refused_with_a_line(text: bytes) -> None:
    found = GRAMMAR.parse(text)
    if isinstance(found, tuple):
        nothing, error, line = found
        assert nothing is None
        assert error
        assert 1 <= line <= text.count(b"\n") + 1


@pytest.mark.parametrize(
    ("text", "context", "error"),
    [
        (
            "usp_handle_ism on;\n\nusp_handle_sim on;",
            "location",
            'directive "usp_handle_sim" is unknown in origin.location block, line 3 '
            '(did you mean "usp_handle_ism"?)',
        ),
        ("gzip on;", "location", 'directive "gzip" is unknown in origin.location block, line 1'),
        (
            "usp_handle_ism on;",
            "http",
            'directive "usp_handle_ism" is not allowed in origin.http block, line 1',
        ),
        (
            "origin_memory 4k;",
            "location",
            'directive "origin_memory" is not allowed in origin.location block, line 1',
        ),
        (
            "origin_cors on;\norigin_cors on;",
            "location",
            'directive "origin_cors" is duplicate in origin.location block, line 2 '
            "(first on line 1)",
        ),
        (
            "usp_handle_ism maybe;",
            "location",
            'directive "usp_handle_ism" takes "on" or "off" in origin.location block, line 1',
        ),
        (
            "usp_handle_ism on off;",
            "location",
            'directive "usp_handle_ism" takes "on" or "off" in origin.location block, line 1',
        ),
        (
            "origin_depth 10;",
            "location",
            'directive "origin_depth" takes one number from 0 to 9 '
            "in origin.location block, line 1",
        ),
        (
            "origin_depth;",
            "http",
            'directive "origin_depth" takes one number from 0 to 9 in origin.http block, line 1',
        ),
        (
            "origin_memory 2m;",
            "http",
            'directive "origin_memory" takes one size such as 64m, at most 1048576 bytes, '
            'or "off" in origin.http block, line 1',
        ),
        (
            "usp_handle_ism",
            "location",
            'directive "usp_handle_ism" does not end with ";" in origin.location block, line 1',
        ),
    ],
)
def test_errors_say_what_and_where(text: str, context: str, error: str) -> None:
    assert read(text, context) == (None, error.encode())


@pytest.mark.parametrize(
    ("text", "value"),
    [("64k", 65536), ("1M", 1048576), ("17", 17), ("off", 0), ("0", 0)],
)
def test_sizes(text: str, value: int) -> None:
    block = read(f"origin_memory {text};", "http")
    assert plain(block)["values"] == {"origin_memory": value}


@pytest.mark.parametrize(
    ("text", "value"),
    [("500ms", 500), ("2s", 2000), ("1", 1000), ("off", 0), ("10ms", 10)],
)
def test_times(text: str, value: int) -> None:
    block = DIRECTIVES.read(f"origin_blocking_edge {text};".encode(), b"location")
    assert plain(block)["values"] == {"origin_blocking_edge": value}


@pytest.mark.parametrize(
    "text", ["3s", "9ms", "0", "1m", "-1s", "1.5s", "on", "", "1s 1s", "9" * 40]
)
def test_times_that_are_none(text: str) -> None:
    found, error = DIRECTIVES.read(f"origin_blocking_edge {text};".encode(), b"location")
    assert found is None
    assert b'takes one time such as 500ms, from 10ms to 2000ms, or "off"' in error


def resolve(http: str, location: str) -> Any:
    values, for_sidecar, digest = DIRECTIVES.resolve(read(http, "http"), read(location), ROWS)
    return plain(values), plain(for_sidecar), digest


def test_a_location_is_over_http_and_http_over_defaults() -> None:
    values, for_sidecar, digest = resolve("", "")
    assert values == {
        "usp_handle_ism": False,
        "origin_cors": True,
        "origin_depth": 3,
        "origin_memory": 1024,
    }
    assert (for_sidecar, digest) == ({}, b"")

    values, for_sidecar, _ = resolve(
        "origin_cors off; origin_depth 4; origin_memory off;", "usp_handle_ism; origin_depth 5;"
    )
    assert values == {
        "usp_handle_ism": True,
        "origin_cors": False,
        "origin_depth": 5,
        "origin_memory": 0,
    }
    assert for_sidecar == [
        {"name": b"origin_depth", "args": [b"5"]},
        {"name": b"origin_memory", "args": [b"off"]},
    ]


def test_locations_share_plans_only_when_the_sidecar_is_told_the_same() -> None:
    here, there = "origin_depth 4;", "origin_cors off; # other words\n origin_depth '4';"
    assert resolve("", here)[2] == resolve("", there)[2] == resolve(here, "")[2]
    assert resolve("", here)[2] != resolve("", "origin_depth 5;")[2]
    assert resolve("origin_memory 1;", here)[2] != resolve("origin_memory 11;", here)[2]


def rows() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = plain(DIRECTIVES.rows)
    return found


@pytest.mark.parametrize("row", rows(), ids=lambda row: str(row["name"], "ascii"))
def test_every_row_of_the_table_is_sound(row: dict[str, Any]) -> None:
    """Its example is read where it may stand, and nowhere else."""
    name = row["name"].decode()
    assert row["doc"].endswith(b".")
    assert row["contexts"] and set(row["contexts"]) <= {"http", "location"}
    assert row["example"].startswith(f"{name} ".encode())
    for context in ("http", "location"):
        block = DIRECTIVES.read(row["example"], context.encode())
        if context not in row["contexts"]:
            assert b"is not allowed" in block[1]
        else:
            assert not isinstance(block, tuple), block
            assert list(plain(block)["values"]) == [name]


def test_names_are_there_once() -> None:
    names = [row["name"] for row in rows()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("row", [row for row in rows() if row["kind"] in (b"flag", b"number")])
def test_a_default_can_be_written(row: dict[str, Any]) -> None:
    words = {True: "on", False: "off"}.get(row["default"], str(row["default"]))
    (context, *_) = row["contexts"]
    block = DIRECTIVES.read(row["name"] + b" " + words.encode() + b";", context.encode())
    assert plain(block)["values"] == {row["name"].decode(): row["default"]}


SECRET = st.text(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/+=", min_size=20, max_size=40
).filter(lambda text: not text.islower())


@given(
    SECRET,
    st.sampled_from(
        [
            "s3_secret_key {} {};",
            "s3_secret_key {}",
            "s3_secret_key; {};",
            "s3_secret_key; {}",
            "s3_secret_key '{};",
            "s3_secret_key '{}'{};",
            "s3_secret_keyy {};",
            "s3_secret_key {} {{",
            "{} s3_secret_key;",
            "s3_secret_key '{}\\n';",
            "usp_license_key {};",
            "ism_proxy_pass http://user:{}@example.com/;",
        ]
    ),
)
def test_no_error_repeats_a_secret(secret: str, text: str) -> None:
    block = DIRECTIVES.read(text.format(secret, secret).encode(), b"location")
    assert isinstance(block, tuple)
    assert secret.encode() not in block[1]


KINDS = LUA.require("directives.kinds")


def value_of(kind: str, *words: str, **row: Any) -> Any:
    found = KINDS.read[kind.encode()](LUA.table(**row), LUA.list(word.encode() for word in words))
    return found if isinstance(found, tuple) else plain(found)


@pytest.mark.parametrize(
    ("words", "folders"),
    [
        (["/srv/media"], [b"/srv/media"]),
        (["/srv/media/", "/a"], [b"/srv/media", b"/a"]),
        (["/a b/..c/.d"], [b"/a b/..c/.d"]),
        (["/x"] * 16, [b"/x"] * 16),
        (["https://cdn.example.com/"], [b"https://cdn.example.com/"]),
        (["/a", "http://[::1]:8080/v%20x/"], [b"/a", b"http://[::1]:8080/v%20x/"]),
    ],
)
def test_folders_and_servers(words: list[str], folders: list[bytes]) -> None:
    assert value_of("places", *words) == folders


@pytest.mark.parametrize(
    "words",
    [
        *(
            [word]
            for word in ("", "/", "//", "a", "./a", "/a//b", "/a/../b", "/..", "/a/.", "/a\n")
        ),
        *(
            [word]
            for word in (
                *("https://cdn.example.com", "https://cdn.example.com/x", "file:///srv/"),
                *("https://u@cdn.example.com/", "http://a.example/../x/", "http://a.example//x/"),
                *("http://a.example/%2e%2e/", "http://a.example/a%2Fb/", "http://a.example/a\\b/"),
                *("http://a.example:0/", "http://a.example:65536/", "http://a.example:x/"),
                *("http://a.example/x?y/", "http://-a.example/", "http://a b/", "http://[::1/"),
            )
        ),
        ["/a", ""],
        ["/a"] * 17,
        ["/" + "x" * 4096],
        [],
    ],
)
def test_what_is_no_folder(words: list[str]) -> None:
    assert value_of("places", *words)[0] is None


@pytest.mark.parametrize(
    ("words", "path", "url"),
    [
        (["http://a.example/"], b"/", b"http://a.example/"),
        (["https://a.example:8443/v/x/"], b"/", b"https://a.example:8443/v/x/"),
        (["/vod/", "http://[::1]:80/x/"], b"/vod/", b"http://[::1]:80/x/"),
    ],
)
def test_where_content_is_fetched_from(words: list[str], path: bytes, url: bytes) -> None:
    assert value_of("proxy", *words) == {"path": path, "url": url}


@pytest.mark.parametrize(
    "words",
    [
        *(
            [word]
            for word in (
                *("", "/", "a.example/", "http:///", "http://a.example", "http://a.example/x"),
                *("http://u:p@a.example/", "http://a.example/?x/", "http://a.example/#/"),
                *("file:///etc/", "http://a.example/ /", "HTTP://a.example/"),
            )
        ),
        ["vod/", "http://a.example/"],
        ["/vod", "http://a.example/"],
        ["/a/../b/", "http://a.example/"],
        ["/a//b/", "http://a.example/"],
        ["/a/", "/b/", "http://a.example/"],
        [],
    ],
)
def test_where_no_content_is_fetched_from(words: list[str]) -> None:
    assert value_of("proxy", *words)[0] is None


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["key"], b"key"),
        (["x" * 9], b"x" * 9),
        (["x" * 10], None),
        ([""], None),
        (["a", "b"], None),
        (["a\nb"], None),
        ([], None),
    ],
)
def test_texts(words: list[str], text: bytes | None) -> None:
    found = value_of("text", *words, max=9, takes=b"path | key")
    assert found == (text or (None, b"takes one path or key of at most 9 bytes"))


def test_a_text_of_several_lines() -> None:
    assert value_of("text", "a\nb", max=9, takes=b"key", lines=True) == b"a\nb"


def test_the_arguments_of_statuses_are_the_same_in_any_order() -> None:
    here = read_status("FMP4_NOT_FOUND * 410", "FMP4_NOT_FOUND mpd 404", "FMP4_FORBIDDEN hls 404")
    there = read_status("FMP4_FORBIDDEN hls 404", "FMP4_NOT_FOUND mpd 404", "FMP4_NOT_FOUND * 410")
    assert here == there
    assert b" ".join(here).startswith(b"FMP4_FORBIDDEN hls 404 FMP4_NOT_FOUND * 410")


def read_status(*lines: str) -> list[bytes]:
    text = "".join(f"origin_status {line};\n" for line in lines)
    block = DIRECTIVES.read(text.encode(), b"location")
    words: list[bytes] = plain(block)["words"]["origin_status"]
    return words
