"""docs/directives.md from the table that nginx reads directives by.

``python -m tests.support.directive_docs`` writes it (``make docs``).
"""

from __future__ import annotations

import textwrap
from typing import Any

from tests.support.lua import ROOT, Lua, plain

PAGE = ROOT / "docs" / "directives.md"
WIDTH = 105
UNITS = ((1 << 30, "g"), (1 << 20, "m"), (1 << 10, "k"))

INTRODUCTION = """\
# Directives

<!-- Made by "make docs" from lua/origin/directives/table.lua. -->

Directives stand in blocks of `init_by_lua_block`, and locations use what these make:

    init_by_lua_block {
        origin = require "origin"
        origin.http [[
            usp_license_key license/license.key;
            origin_body_cache 64m;
        ]]
        vod = origin.location [[ usp_handle_ism on; ]]
        tv = origin.location(vod, [[
            origin_cors off;
            origin_status FMP4_FRAGMENT_MISSING mpd 204;
        ]])
    }
    ...
    location ~ \\.ism/ {
        content_by_lua_block { vod:content() }
    }

- The text of a block has nginx's own grammar: a name, arguments, `;`, with `"..."` and `'...'` around
  what has spaces, and `#` before comments. It is UTF-8 without control bytes.
- `origin.http` comes at most once, before the first `origin.location`. What it says holds for all
  locations that do not say otherwise.
- `origin.location(parent, [[...]])` takes the directives of another object, and then its own; so may
  others of it in turn. Objects do not change once they are made.
- A flag stands alone, or with `on` or `off`.
- Nothing is ignored: a name that is unknown, a context, an argument or a repetition that is wrong stops the
  start (a reload goes on with what was before). The message has the line of the configuration that the
  call is on (of a block over several lines the last one), the line in the block, and the name that was
  probably meant:

      openresty.conf:47: directive "usp_handle_sim" is unknown in origin.location block, line 2 (did you mean "usp_handle_ism"?)

  `nginx -t` does not run Lua. `make check-conf` does: it starts nginx with the configuration and stops it.
  Messages never repeat the values of keys and tokens.
"""  # noqa: E501 - text as it stands in the page


def rows() -> list[dict[str, Any]]:
    """The rows of lua/origin/directives/table.lua in their order, their texts as str."""
    found: list[dict[str, Any]] = _decoded(plain(Lua().require("directives.table")))
    return found


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION, _overview()]
    parts += [_section(row) for row in rows()]
    return "\n".join(parts)


def _overview() -> str:
    lines = ["| directive | context | default |", "| --- | --- | --- |"]
    lines += [
        f"| [`{row['name']}`](#{row['name']}) | {_contexts(row)} | {_default(row)} |"
        for row in rows()
    ]
    return "\n".join(lines) + "\n"


def _section(row: dict[str, Any]) -> str:
    text = row["doc"]
    lines = [
        f"## {row['name']}",
        "",
        f"- Syntax: `{row['name']} {_arguments(row)};`" + (", repeatable" * ("repeats" in row)),
        f"- Default: {_default(row) or 'none'}",
        f"- Context: {_contexts(row)}",
        "",
        *textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False),
        "",
        f"    {row['example']}",
        "",
    ]
    return "\n".join(lines)


def _arguments(row: dict[str, Any]) -> str:
    match row["kind"]:
        case "flag":
            return "[on | off]"
        case "number":
            return f"{row['min']} ... {row['max']}"
        case "size":
            return "size | off"
        case "time":
            return "time | off"
    takes: str = row["takes"]
    return takes


def _default(row: dict[str, Any]) -> str:
    value = row["default"]
    if isinstance(value, bool):
        return "on" if value else "off"
    if row["kind"] == "size":
        size, unit = next((size, unit) for size, unit in UNITS if value % size == 0)
        return f"{value // size}{unit}"
    if row["kind"] == "time" and not value:
        return "off"
    return str(value) if value else ""


def _contexts(row: dict[str, Any]) -> str:
    return ", ".join(sorted(row["contexts"]))


def _decoded(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return {name: _decoded(item) for name, item in value.items()}
    return [_decoded(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    PAGE.write_text(page())
