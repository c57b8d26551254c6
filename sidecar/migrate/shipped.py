"""What every configuration needs of the shipped openresty.conf, taken from that file itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sidecar.migrate.tree import ConfigurationError, Statement, read

_MAIN = ("worker_rlimit_nofile", "error_log", "pid", "env")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A directive with the comments above it and beside it."""

    directive: Statement
    above: tuple[Statement, ...]
    beside: tuple[Statement, ...]

    @property
    def statements(self) -> tuple[Statement, ...]:
        return (*self.above, self.directive, *self.beside)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """Parts of the shipped file.

    ``modules``: for the top of the file. ``main``: for the main context. ``settings``: for the top
    of http. ``servers``: for its end, the upstream of the sidecar and the servers that clients do
    not reach. ``ingest``: for servers that stream, what their handlers refer to.
    ``package_path``: where Lua finds ours. ``http_block``: the directives of ``origin.http``,
    "" = none. ``worker_lua``, ``log_lua``: what Lua runs when a worker starts, and after each
    request; "" = nothing.
    """

    modules: tuple[Part, ...]
    main: tuple[Part, ...]
    settings: tuple[Part, ...]
    servers: tuple[Part, ...]
    ingest: tuple[Part, ...]
    package_path: str
    http_block: str
    worker_lua: str
    log_lua: str


def read_shipped(path: Path) -> Shipped:
    """The parts of the openresty.conf at ``path``. Raises ``ConfigurationError``."""
    main = read(path)
    http = next((one.block for one in main if one.directive == "http"), None) or ()
    public = next((one.block for one in http if _is_public(one)), None) or ()
    path_of_lua = next((one.args[0] for one in http if one.directive == "lua_package_path"), "")
    if not public or not path_of_lua:
        raise ConfigurationError(f"{path}: is not the shipped openresty.conf")
    return Shipped(
        modules=tuple(_parts(main, lambda one: one.directive == "include")),
        main=tuple(_parts(main, lambda one: one.directive in _MAIN)),
        settings=tuple(_parts(http, _is_setting)),
        servers=tuple(_parts(http, _is_server)),
        ingest=tuple(_parts(public, is_ingest)),
        package_path=path_of_lua,
        http_block="".join(
            re.findall(r"origin\.http\s*\[\[(.*?)\]\]", _lua(http, "init"), re.DOTALL)
        ),
        worker_lua=_lua(http, "init_worker").strip(),
        log_lua=_lua(public, "log").strip(),
    )


def _is_public(one: Statement) -> bool:
    """Whether it is the server that clients talk to."""
    return one.directive == "server" and any(
        inner.directive == "listen" and not inner.args[0].startswith(("unix:", "127.0.0.1:"))
        for inner in one.block or ()
    )


def is_ingest(one: Statement) -> bool:
    """Whether it is the location that requests are passed on to the sidecar in."""
    return one.directive == "location" and one.args == ("@ingest",)


def _is_server(one: Statement) -> bool:
    return one.directive == "upstream" or (one.directive == "server" and not _is_public(one))


def _is_setting(one: Statement) -> bool:
    name = one.directive
    return (
        (name.startswith("lua_") and name != "lua_package_path")
        or (name == "map" and one.args[-1].startswith("$origin_"))
        or name in ("log_format", "proxy_cache_path")
        or name.endswith("_temp_path")
    )


def _lua(block: tuple[Statement, ...], phase: str) -> str:
    return next((one.lua or "" for one in block if one.directive == f"{phase}_by_lua_block"), "")


def _parts(block: tuple[Statement, ...], wanted: Callable[[Statement], bool]) -> Iterator[Part]:
    above: list[Statement] = []
    for number, one in enumerate(block):
        if one.apart:
            above.clear()
        if one.comment is not None:
            if not one.beside:
                above.append(one)
            continue
        if wanted(one):
            following = block[number + 1 : number + 2]
            beside = tuple(next_ for next_ in following if next_.beside)
            yield Part(directive=one, above=tuple(above), beside=beside)
        above.clear()
