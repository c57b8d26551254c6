"""Teaches crossplane where a Lua block of a configuration ends: by Lua's own rules.

A brace, a quote or "--" says nothing inside a string, a long bracket or a comment.
"""

from __future__ import annotations

from collections.abc import Iterator

from crossplane.lexer import register_external_lexer

DIRECTIVES = tuple(
    f"{phase}_by_lua_block"
    for phase in (
        "init",
        "init_worker",
        "exit_worker",
        "ssl_client_hello",
        "ssl_certificate",
        "ssl_session_fetch",
        "ssl_session_store",
        "set",
        "server_rewrite",
        "rewrite",
        "access",
        "content",
        "balancer",
        "header_filter",
        "body_filter",
        "log",
    )
)

_Token = tuple[str, int, bool]


class _Characters:
    """One character at a time, with one of pushback. crossplane pairs each backslash with what
    follows it, which means nothing in a long bracket."""

    def __init__(self, source: Iterator[tuple[str, int]]) -> None:
        self._source = source
        self._waiting: list[str] = []
        self.line = 0

    def next(self) -> str:
        """The next one; "" at the end of the file."""
        if not self._waiting:
            text, self.line = next(self._source, ("", self.line))
            self._waiting.extend(reversed(text))
        return self._waiting.pop() if self._waiting else ""

    def back(self, character: str) -> None:
        if character:
            self._waiting.append(character)


def _lex(source: Iterator[tuple[str, int]], directive: str) -> Iterator[_Token]:
    """The arguments of ``directive``, of which the last one is the text between the braces.

    A block that is not closed ends without its ";", which the parser takes for the end of file.
    """
    characters = _Characters(source)
    argument = ""
    while (character := characters.next()) and character != "{":
        if not character.isspace():
            argument += character
        elif argument:
            yield argument, characters.line, False
            argument = ""
    text = _block(characters) if character else None
    if text is not None:
        yield text, characters.line, True
        yield ";", characters.line, False


def _block(characters: _Characters) -> str | None:
    """What stands before the brace that closes the block; None when there is none."""
    text: list[str] = []
    depth = 1
    while character := characters.next():
        if character == "}":
            depth -= 1
            if depth == 0:
                return "".join(text)
        elif character == "{":
            depth += 1
        text.append(character)
        if character in "\"'":
            _string(characters, character, text)
        elif character == "[":
            _long_bracket(characters, text)
        elif character == "-":
            _comment(characters, text)
    return None


def _string(characters: _Characters, quote: str, text: list[str]) -> None:
    while character := characters.next():
        text.append(character)
        if character == "\\":
            text.append(characters.next())
        elif character == quote:
            return


def _long_bracket(characters: _Characters, text: list[str]) -> bool:
    """Behind a "[": takes a long bracket to its end; whether there was one."""
    level = 0
    while (character := characters.next()) == "=":
        text.append(character)
        level += 1
    if character != "[":
        characters.back(character)
        return False
    text.append(character)
    end = f"]{'=' * level}]"
    inner = ""
    while not inner.endswith(end) and (character := characters.next()):
        text.append(character)
        inner = (inner + character)[-len(end) :]
    return True


def _comment(characters: _Characters, text: list[str]) -> None:
    """Behind a "-": takes a comment, if it is one."""
    character = characters.next()
    if character != "-":
        characters.back(character)
        return
    text.append(character)
    character = characters.next()
    if character == "[":
        text.append(character)
        if _long_bracket(characters, text):
            return
        character = characters.next()
    while character and character != "\n":
        text.append(character)
        character = characters.next()
    if character:
        text.append(character)


register_external_lexer(directives=DIRECTIVES, lexer=_lex)
