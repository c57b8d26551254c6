"""Configurations as trees: what is read is written again, byte for byte where nothing changed."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.migrate.tree import (
    ConfigurationError,
    Statement,
    each,
    indentation,
    read,
    text_of,
    write,
)

ROOT = Path(__file__).resolve().parents[3]
CONFIGURATIONS = sorted((Path(__file__).parent / "configurations").glob("**/*.conf"))


def parsed(folder: Path, text: str) -> tuple[Statement, ...]:
    (folder / "one.conf").write_bytes(text.encode())
    return read(folder / "one.conf")


def loose(statements: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """As if all of them had been changed."""
    return tuple(
        replace(one, text=None, block=one.block and loose(one.block)) for one in statements
    )


def meaning(statements: tuple[Statement, ...]) -> list[object]:
    return [
        (one.directive, one.args, one.comment, one.block and meaning(one.block))
        for one in statements
    ]


@pytest.mark.parametrize(
    "path", [ROOT / "openresty.conf", *CONFIGURATIONS], ids=lambda path: path.name
)
def test_what_is_not_changed_stays_byte_for_byte(path: Path, tmp_path: Path) -> None:
    tree = read(path)
    indent = indentation(tree)
    shared_lines = path.parent.parent.name == "ancestor"
    if not shared_lines:
        assert write(tree, indent) == path.read_text()
    again = parsed(tmp_path, write(loose(tree), indent))
    assert meaning(again) == meaning(tree)


@pytest.mark.parametrize(
    "text",
    [
        "a 'x y' \"it's\" 'a\"b';\n",
        'a "with \\"both\\" and \\\'";\n',
        "a $x ${y}z \\.ism$ ~^/a(b)+/;\n",
        'a "^/a{2}$" "}" "#" "" ";";\n',
        'a "two\nlines";\n',
        "if ($a ~ (x|y)) { b 'c d'; }\n",
        'if ($x = "a b") { return 204; }\n',
        'map $a $b { default ""; "" 1; "~*x y" 2; "#" 3; }\n',
        "a b # in the middle\n  c;\n",
        "a; # beside\n# below\n\n# apart\nb { # beside the brace\n    c;\n} # behind\n",
        "a b;",
        "a b; # the end",
        "a { b; c { } }\n",
        "\ta\n\t\tb;\r\n",
    ],
)
def test_words_and_comments_survive(text: str, tmp_path: Path) -> None:
    tree = parsed(tmp_path, text)
    again = parsed(tmp_path, write(loose(tree)))
    assert [one.args for one in again if one.comment is None] == [
        one.args for one in tree if one.comment is None
    ]
    assert meaning(parsed(tmp_path, write(loose(again)))) == meaning(again)


def test_comments_keep_their_places(tmp_path: Path) -> None:
    text = "a;   # beside\n# below\n\n# apart\nb {  # at the brace\n    c;  # c\n}  # behind\n"
    tree = parsed(tmp_path, text)
    assert write(tree) == text
    assert write(loose(tree)) == text.replace("   # b", " # b").replace("  # ", " # ")


@pytest.mark.parametrize(
    "block",
    [
        " x = '}' ",
        ' x = "\\"}" ',
        ' x = [[ }" ]] ',
        " x = [==[ ]] } ]=] ]==] ",
        " x = [[\\]] ",
        " -- it's } here\n",
        " --[[ } \n it's ]] x = 1 ",
        " x = { { }, a[1], [b] = {} } ",
        " x = 1 - 2 ",
        " x = a--b }\n",
        "\n",
        "",
    ],
)
@pytest.mark.parametrize(
    "directive", ["init_by_lua_block", "exit_worker_by_lua_block", "set_by_lua_block $x"]
)
def test_a_block_of_lua_ends_where_lua_says(block: str, directive: str, tmp_path: Path) -> None:
    text = f"http {{\n    {directive} {{{block}}}\n    after it;\n}}\n"
    (http,) = parsed(tmp_path, text)
    assert http.block is not None
    lua, after = http.block
    assert lua.lua == block
    assert lua.args[:-1] == tuple(directive.split()[1:])
    assert (after.directive, after.args) == ("after", ("it",))
    assert write((http,)) == write(loose((http,))) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a {\n b;\n", "unexpected end of file"),
        ("a;\n}\n", r':2: unexpected "}"'),
        ("a;\nb c\n", r':2: "b" has no end'),
        ("a { b }\n", r':1: unexpected "}"'),
        ("init_by_lua_block { x = {\n", "has no end"),
        ("a 'b;\n", "has no end"),
        ("a {" * 200 + "}" * 200, "too deep"),
    ],
)
def test_errors_say_where(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        parsed(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "one.conf"))


def test_files_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "one.conf").write_bytes(b"a;\n# caf\xe9\n")
    with pytest.raises(ConfigurationError, match="not UTF-8 at byte 8"):
        read(tmp_path / "one.conf")
    with pytest.raises(ConfigurationError, match="No such file"):
        read(tmp_path / "two.conf")


def test_a_comment_whose_statement_goes_stays(tmp_path: Path) -> None:
    tree = parsed(tmp_path, "a;\nb;  # why\nc;\n")
    left = each(tree, lambda one: [] if one.directive == "b" else [one])
    assert write(left) == "a;\n# why\nc;\n"


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab \t\n;{}$'\"#~()[]=\\", max_size=12))
def test_any_word_survives_quoting(word: str) -> None:
    if (len(word) - len(word.rstrip("\\"))) % 2:
        word += "x"  # no word of a configuration ends in half an escape
    with tempfile.TemporaryDirectory() as folder:
        (one,) = parsed(Path(folder), write((Statement(directive="a", args=(word,)),)))
    assert [text_of(arg) for arg in one.args] == [text_of(word)]
