"""A configuration of nginx as a tree of statements, from crossplane's words, and as text again.

What is not changed is written as it was found: columns, quotes and all.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import crossplane

from sidecar.migrate import lua_blocks

_WIDTH = 100
_MAX_DEPTH = 100  # of blocks in blocks

_Token = tuple[str, int, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A directive, or a comment when ``comment`` is not None (its text behind "#").

    ``args``: as written but for the quotes around them; escapes are kept. ``block``: what stands
    between braces, None = none. ``file``, ``line``: where it begins; "" = made here. ``apart``: a
    blank line is above it. ``beside``: a comment on the last line of the statement before it, or
    on the line that opens the block. ``text``: its source without the white space around it, None
    when it was changed or shares its lines. ``margin``: the white space before it, which its
    further lines have too; None when one of those is a part of a string.
    """

    directive: str = ""
    args: tuple[str, ...] = ()
    block: tuple[Statement, ...] | None = None
    comment: str | None = None
    file: str = ""
    line: int = 0
    apart: bool = False
    beside: bool = False
    text: str | None = None
    margin: str | None = ""

    @property
    def place(self) -> str:
        """``file:line``."""
        return f"{self.file}:{self.line}"

    @property
    def lua(self) -> str | None:
        """The Lua text of a block of Lua, else None."""
        return self.args[-1] if self.directive in lua_blocks.DIRECTIVES else None

    def with_block(self, block: tuple[Statement, ...]) -> Statement:
        """This one with another block; itself when that is the same."""
        return self if block == self.block else replace(self, block=block, text=None)

    def with_args(self, *args: str) -> Statement:
        """This one with other arguments; itself when they are the same."""
        return self if args == self.args else replace(self, args=args, text=None)


class ConfigurationError(Exception):
    """A configuration cannot be read; its text begins with the place."""


def read(path: Path) -> tuple[Statement, ...]:
    """The statements of the file ``path``, includes as they stand.

    Raises ``ConfigurationError``.
    """
    try:
        # crossplane reads text in which bytes that are not UTF-8 are lost.
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="") as copy:
        copy.write(f"{text}\n")  # a comment on a last line that does not end is lost otherwise
        copy.flush()
        try:
            tokens = list(crossplane.lex(copy.name))
        except crossplane.errors.NgxParserBaseException as error:
            raise ConfigurationError(f"{path}:{error.lineno}: {error.strerror}") from None
    # As crossplane counts lines: "\r" ends none, as in nginx.
    return _Parser(str(path), text.replace("\r\n", "\n").split("\n"), tokens).statements(0)


class _Parser:
    """Turns the words of one file into statements."""

    def __init__(self, file: str, lines: list[str], tokens: list[_Token]) -> None:
        self._file = file
        self._lines = lines
        self._tokens = tokens
        self._next = 0
        # Where the statement or comment before the next word ends, or its block begins.
        self._last_line = 0

    def _take(self) -> _Token | None:
        if self._next == len(self._tokens):
            return None
        self._next += 1
        return self._tokens[self._next - 1]

    def statements(self, depth: int) -> tuple[Statement, ...]:
        """Those up to the brace that closes the block, or the end of the file at depth 0."""
        found: list[Statement] = []
        while token := self._take():
            word, line, is_quoted = token
            if word == "}" and not is_quoted:
                self._last_line = line
                return tuple(found)
            if word.startswith("#") and not is_quoted:
                found.append(self._comment(word, line))
            else:
                found.append(self._directive(word, line, depth))
        return tuple(found)

    def _comment(self, word: str, line: int) -> Statement:
        beside = line == self._last_line
        self._last_line = line
        source = self._lines[line - 1]
        # The end of a line is a comment, or it would not be one here.
        code = source[: -len(word)] if source.endswith(word) else ""
        return Statement(
            comment=word[1:],
            file=self._file,
            line=line,
            apart=self._is_apart(line),
            beside=beside,
            text=f"{code[len(code.rstrip()) :]}{word}" if beside and code else None,
        )

    def _directive(self, word: str, line: int, depth: int) -> Statement:
        above = self._last_line
        begin = self._next - 1
        args: list[str] = []
        while token := self._take():
            arg, end, is_quoted = token
            if is_quoted or arg not in (";", "{", "}"):
                if is_quoted or not arg.startswith("#"):
                    args.append(arg)
                continue
            if arg == "}":
                raise ConfigurationError(f'{self._file}:{end}: unexpected "}}"')
            block = None
            self._last_line = end
            if arg == "{" and depth == _MAX_DEPTH:
                raise ConfigurationError(f"{self._file}:{end}: blocks are too deep")
            if arg == "{":
                block = self.statements(depth + 1)
            margin, text = self._source(line, self._last_line) if above < line else ("", None)
            return Statement(
                directive=word,
                args=tuple(args),
                block=block,
                file=self._file,
                line=line,
                apart=self._is_apart(line),
                text=text,
                margin=margin if self._may_move(begin) else None,
            )
        raise ConfigurationError(f'{self._file}:{line}: "{word}" has no end')

    def _source(self, first: int, last: int) -> tuple[str, str | None]:
        """Margin and text of the lines from ``first`` to ``last`` but for a comment that follows;
        None unless a single statement makes them up."""
        lines = self._lines[first - 1 : last]
        if self._next < len(self._tokens) and self._tokens[self._next][1] == last:
            word, _, is_quoted = self._tokens[self._next]
            if is_quoted or not word.startswith("#") or not lines[-1].endswith(word):
                return "", None
            lines[-1] = lines[-1][: -len(word)].rstrip()
        source = "\n".join(lines).rstrip()
        text = source.lstrip()
        return source[: len(source) - len(text)], text

    def _may_move(self, begin: int) -> bool:
        """Whether no line between the word ``begin`` and the next one is a part of a string."""
        before = ""
        for word, _, is_quoted in self._tokens[begin : self._next]:
            is_lua = before in lua_blocks.DIRECTIVES
            if is_quoted and "\n" in word and (not is_lua or re.search(r"\[=*\[", word)):
                return False
            before = word
        return True

    def _is_apart(self, line: int) -> bool:
        return line > 1 and not self._lines[line - 2].strip()


def write(statements: tuple[Statement, ...], indent: str = "    ") -> str:
    """The text of a configuration, blocks indented by ``indent``."""
    return "".join(_lines(statements, "", indent))


def _lines(statements: tuple[Statement, ...], margin: str, indent: str) -> Iterator[str]:
    for number, statement in enumerate(statements):
        if statement.comment is not None:
            if not (statement.beside and number):
                yield "\n" if statement.apart and number else ""
                yield f"{margin}#{statement.comment}\n"
            continue
        yield "\n" if statement.apart and number else ""
        behind = _beside(statements[number + 1 : number + 2])
        if statement.text is not None:
            yield f"{margin}{_moved(statement, margin)}{behind}\n"
        elif statement.block is None:
            yield f"{margin}{_simple(statement, margin, indent)}{behind}\n"
        else:
            first = _beside(statement.block[:1])
            inner = statement.block[1:] if first else statement.block
            yield f"{margin}{' '.join(_words(statement))} {{{first}\n"
            yield from _lines(inner, margin + indent, indent)
            yield f"{margin}}}{behind}\n"


def _beside(following: tuple[Statement, ...]) -> str:
    for statement in following:
        if statement.comment is not None and statement.beside:
            return statement.text or f" #{statement.comment}"
    return ""


def _moved(statement: Statement, margin: str) -> str:
    """Its text with ``margin`` before the lines in place of its own."""
    text = statement.text or ""
    if statement.margin is None:
        return text
    return re.sub(rf"\n{statement.margin}(?=[^\n])", f"\n{margin}", text)


def _simple(statement: Statement, margin: str, indent: str) -> str:
    words = _words(statement)
    if statement.lua is not None:
        return f"{' '.join(words[:-1])} {{{statement.lua}}}"
    line = f"{' '.join(words)};"
    if len(margin) + len(line) <= _WIDTH or "\n" in line or len(words) < 4:
        return line
    return f"\n{margin}{indent}".join([" ".join(words[:2]), *words[2:]]) + ";"


def _words(statement: Statement) -> list[str]:
    args = [quoted(arg) for arg in statement.args]
    if statement.lua is not None:
        args[-1] = statement.lua
    return [quoted(statement.directive), *args]


def quoted(arg: str) -> str:
    """``arg`` as it is written: in quotes where it would end early, or be something else."""
    if re.fullmatch(r"(?![\"'#])(?:\\.|\$\{\w+\}|[^\s;{}\\])+", arg, re.DOTALL):
        return arg
    quote = "'" if '"' in arg and "'" not in arg else '"'
    parts = re.findall(r"\\.|.", arg, re.DOTALL)
    return quote + "".join(f"\\{part}" if part == quote else part for part in parts) + quote


def text_of(arg: str) -> str:
    """What nginx makes of ``arg``, a word of a configuration: its escapes undone."""
    known = {"t": "\t", "r": "\r", "n": "\n"}
    return re.sub(r"\\([\"'\\trn])", lambda match: known.get(match[1], match[1]), arg)


def reindented(statement: Statement, indent: str) -> Statement:
    """``statement``, of which each level is indented by four spaces, with ``indent`` instead."""
    if statement.block is None or statement.margin is None:
        return statement
    margin = statement.margin

    def line(match: re.Match[str]) -> str:
        return f"\n{margin}{indent * (len(match[1]) // 4)}"

    text = statement.text
    return replace(
        statement,
        text=text and re.sub(rf"\n{margin}((?:    )+)", line, text),
        block=tuple(reindented(inner, indent) for inner in statement.block),
    )


def each(
    block: tuple[Statement, ...], rewrite: Callable[[Statement], list[Statement]]
) -> tuple[Statement, ...]:
    """What ``rewrite`` makes of the statements of a block. A comment beside one that is gone gets
    a line of its own."""
    found: list[Statement] = []
    is_gone = False
    for one in block:
        if one.comment is None:
            made = rewrite(one)
            is_gone = not made or made[-1].comment is not None
            found += made
        elif one.beside and is_gone:
            found.append(replace(one, beside=False, text=None))
        else:
            found.append(one)
    return tuple(found)


def indentation(statements: tuple[Statement, ...]) -> str:
    """What the blocks of a file are indented by: the margin of the first one in a block."""
    for statement in statements:
        for inner in statement.block or ():
            if inner.margin:
                return inner.margin[len(statement.margin or "") :] or "    "
    return "    "
