"""Lua that runs in the same phase of nginx as ours: both in one block, as it may be there once."""

from __future__ import annotations

import re
import textwrap
from dataclasses import replace

from sidecar.migrate.tree import Statement, text_of


def phase_of(statement: Statement) -> str:
    """``log`` of ``log_by_lua``, ``log_by_lua_block`` and ``log_by_lua_file``; "" of others."""
    match = re.fullmatch(r"(\w+)_by_lua(_block|_file)?", statement.directive)
    return match[1] if match and statement.args else ""


def code(statement: Statement) -> str:
    """The Lua that the ``..._by_lua...`` directive ``statement`` runs."""
    if statement.lua is not None:
        return statement.lua
    text = text_of(statement.args[-1])
    if statement.directive.endswith("_file"):
        escaped = re.sub(r'(["\\])', r"\\\1", text)
        return f'dofile("{escaped}")'
    return text


def block(phase: str, lines: list[str], margin: str, indent: str) -> Statement:
    """A directive that runs ``lines`` in ``phase``, for a block of statements with ``margin``."""
    if len(lines) == 1 and "\n" not in lines[0]:
        text = f" {lines[0]} "
    else:
        body = textwrap.indent("\n".join(lines), margin + indent, lambda line: bool(line.strip()))
        text = f"\n{body}\n{margin}"
    return Statement(directive=f"{phase}_by_lua_block", args=(text,))


def guest(statement: Statement) -> list[str]:
    """Lines that run what ``statement`` runs, without a word to the Lua around it."""
    text = code(statement).strip("\n").rstrip()
    if "\n" not in text:
        return [f"do {text.strip()} end"] if "--" not in text else ["do", text, "end"]
    # A line may be a part of a string between long brackets.
    if not re.search(r"\[=*\[", text):
        text = textwrap.indent(textwrap.dedent(text), "    ")
    return ["do", text, "end"]


def merged(phase: str, ours: str, theirs: Statement, margin: str, indent: str) -> Statement:
    """A directive in the place of ``theirs`` that runs ``ours`` first."""
    made = block(phase, [ours, *guest(theirs)], margin, indent)
    return replace(theirs, directive=made.directive, args=made.args, text=None)
