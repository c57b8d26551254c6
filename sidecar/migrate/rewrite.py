"""From a configuration of the original module to one of ours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sidecar.migrate import original, phases
from sidecar.migrate.included import Includes
from sidecar.migrate.locations import Scope, Work, carried, own_flags, server
from sidecar.migrate.notes import Notes
from sidecar.migrate.objects import Objects, words
from sidecar.migrate.paths import Places
from sidecar.migrate.shipped import Shipped
from sidecar.migrate.tree import (
    ConfigurationError,
    Statement,
    each,
    indentation,
    read,
    reindented,
    text_of,
    write,
)

# Those of http that the servers inside must not inherit: Lua talks to them, not a client.
_NEUTRAL = {
    "allow": "allow all",
    "deny": "allow all",
    "auth_basic": "auth_basic off",
    "auth_request": "auth_request off",
    "error_page": "error_page 599 /",  # any list hides that of http
    "grpc_intercept_errors": "grpc_intercept_errors off",
    "limit_rate": "limit_rate 0",
    "proxy_intercept_errors": "proxy_intercept_errors off",
    **{
        f"{phase}_by_lua{kind}": f"{phase}_by_lua_block"
        for phase in ("rewrite", "access", "header_filter", "body_filter", "log")
        for kind in ("", "_block", "_file")
    },
}
_LIMITS = ("limit_req", "limit_conn")
_WRITTEN = ("pid", "error_log", "access_log")
_MERGED = ("init", "init_worker")
# Which process makes a plan: the upstream is named in a map.
_PROCESS = "$origin_process"


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """``text``: the configuration. ``notes``: remarks for the administrator, each with its place.
    ``streaming``: how many locations stream; ``lost``: how many directives are left out."""

    text: str
    notes: tuple[str, ...]
    streaming: int
    lost: int


def migrate(file: Path, shipped: Shipped, prefix: Path | None) -> Migration:
    """The configuration with the main file ``file``, with what ``shipped`` has in it.

    ``prefix``: the folder of the former nginx that relative paths are relative to, None = not
    known. Raises ``ConfigurationError``, also when there is nothing to migrate.
    """
    notes = Notes()
    source = read(file)
    indent = indentation(source)
    places = Places(folder=file.absolute().parent, prefix=prefix)
    tree = Includes(places, notes).followed(source)
    if sum(one.directive == "http" for one in tree) != 1:
        raise ConfigurationError(f"{file}: has no http block: name the main file of nginx")
    if not any(_is_original(one) for one in _walk(tree)):
        raise ConfigurationError(f"{file}: has no directive of the original module")
    lua = (phases.code(one) for one in _walk(tree) if phases.phase_of(one))
    work = Work(notes=notes, objects=Objects(words(lua)), log_lua=shipped.log_lua, indent=indent)
    main = _Main(shipped, work).rewritten(tree)
    for one in _walk(tree):
        if one.directive in _WRITTEN and one.args[:1] and one.args[0].startswith("/"):
            where = "origin-nginx.service may write logs/ only"
            if not one.args[0].startswith("/dev/"):
                notes.say(one, f"{one.args[0]} is kept; {where}")
    if not work.streaming:
        raise ConfigurationError("\n".join([*notes, f"{file}: no location streams"]))
    return Migration(
        text=write(main, indent), notes=tuple(notes), streaming=work.streaming, lost=notes.lost
    )


def _walk(statements: tuple[Statement, ...]) -> Iterator[Statement]:
    for one in statements:
        yield one
        yield from _walk(one.block or ())


def _is_original(one: Statement) -> bool:
    return original.is_known(one.directive) or (
        one.directive in original.ANCESTORS and not one.args and one.comment is None
    )


class _Main:
    """The main context and http."""

    def __init__(self, shipped: Shipped, work: Work) -> None:
        self._shipped = shipped
        self._work = work

    def rewritten(self, tree: tuple[Statement, ...]) -> tuple[Statement, ...]:
        """The whole configuration."""
        outer = Scope(flags=own_flags(tree, self._work.notes))
        rest = each(tree, lambda one: self._in_main(one, outer))
        names = {one.directive for one in rest}
        missing = [part for part in self._shipped.main if part.directive.directive not in names]
        head = [one for part in (*self._shipped.modules, *missing) for one in part.statements]
        return (*head, *_apart(rest))

    def _in_main(self, one: Statement, scope: Scope) -> list[Statement]:
        if one.directive == "http":
            return [self._http(one, scope)]
        if one.directive == "load_module" and one.args:
            return [] if original.is_replaced(text_of(one.args[0])) else [one]
        return carried(one, self._work.notes) if one.block is None else [one]

    def _http(self, http: Statement, outer: Scope) -> Statement:
        block = http.block or ()
        log = next((one for one in block if phases.phase_of(one) == "log"), None)
        flags = {**outer.flags, **own_flags(block, self._work.notes)}
        scope = Scope(flags=flags, log=log)
        theirs = {
            phase: [one for one in block if phases.phase_of(one) == phase] for phase in _MERGED
        }
        taken = _upstreams(block)
        self._work.ingest = tuple(
            statement
            for part in self._shipped.ingest
            for statement in _apart((*part.above, self._in_style(_renamed(part.directive, taken))))
        )
        rest = each(block, lambda one: self._in_http(one, scope))
        made = [*self._settings(block), *self._lua(theirs, block)]
        return http.with_block((*made, *_apart(rest), *self._servers(block)))

    def _in_http(self, one: Statement, scope: Scope) -> list[Statement]:
        if phases.phase_of(one) in _MERGED or one.directive == "lua_package_path":
            return []
        if one.directive == "server":
            return [server(one, scope, self._work)]
        if one.directive == "lua_code_cache" and one.args == ("off",):
            self._work.notes.leave_out(one, "every request would start without plans")
            return []
        if one.directive in _LIMITS:
            self._work.notes.say(
                one, "it would limit the calls to the sidecar too: move it into your servers"
            )
        return carried(one, self._work.notes)

    def _settings(self, block: tuple[Statement, ...]) -> Iterator[Statement]:
        path = self._shipped.package_path
        theirs = next((one for one in block if one.directive == "lua_package_path"), None)
        if theirs is not None:
            path = f"{path.removesuffix(';')}{theirs.args[0]}"
        yield Statement(directive="lua_package_path", args=(path,))
        present = {_key(one) for one in block}
        taken = _upstreams(block)
        for part in self._shipped.settings:
            if _key(part.directive) not in present:
                yield from (self._in_style(_renamed(one, taken)) for one in part.statements)

    def _in_style(self, one: Statement) -> Statement:
        return reindented(one, self._work.indent)

    def _lua(
        self, theirs: dict[str, list[Statement]], block: tuple[Statement, ...]
    ) -> Iterator[Statement]:
        """What Lua runs at the start: ours, then theirs."""
        indent = self._work.indent
        directives = [
            *(line.strip() for line in self._shipped.http_block.strip().splitlines()),
            "# As before: only the Access-Control headers that this configuration adds.",
            "origin_cors off;",
        ]
        init = [
            'origin = require "origin"',
            "\n".join(["origin.http [[", *(f"{indent}{line}" for line in directives), "]]"]),
            *self._work.objects.definitions(),
        ]
        for phase, ours in (("init", init), ("init_worker", [self._shipped.worker_lua])):
            guests = [line for one in theirs[phase] for line in self._guest(one)]
            lines = [line for line in (*ours, *guests) if line]
            if lines:
                yield replace(phases.block(phase, lines, indent, indent), apart=True)

    def _guest(self, one: Statement) -> list[str]:
        return [f"-- {one.place}", *phases.guest(one)]

    def _servers(self, block: tuple[Statement, ...]) -> Iterator[Statement]:
        """The upstreams of the sidecar and the servers inside."""
        neutral = dict.fromkeys(
            _NEUTRAL[one.directive] for one in block if one.directive in _NEUTRAL
        )
        taken = _upstreams(block)
        ports = {port for one in block for port in _ports(one)}
        for part in self._shipped.servers:
            one = _renamed(part.directive, taken)
            if used := _ports(one) & ports:
                self._work.notes.say(
                    next(iter(block)),
                    f"port {used.pop()} is in use: add the server of metrics from openresty.conf",
                )
                continue
            if one.directive == "server":
                one = _shielded(one, list(neutral))
            yield from _apart((*part.above, self._in_style(one)))
            yield from part.beside


def _key(one: Statement) -> tuple[str, ...]:
    """What may be there once only."""
    if one.directive in ("lua_shared_dict", "log_format", "proxy_cache_path"):
        return (one.directive, one.args[0] if one.args else "")
    return (
        (one.directive, one.args[-1]) if one.directive == "map" and one.args else (one.directive,)
    )


def _apart(statements: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """``statements`` below a blank line."""
    return tuple(replace(one, apart=one.apart or n == 0) for n, one in enumerate(statements))


def _ports(one: Statement) -> set[str]:
    """The ports that the server ``one`` listens on."""
    if one.directive != "server":
        return set()
    listens = (text_of(inner.args[0]) for inner in one.block or () if inner.directive == "listen")
    return {name.rpartition(":")[2] for name in listens if not name.startswith("unix:")}


def _upstreams(block: tuple[Statement, ...]) -> frozenset[str]:
    return frozenset(one.args[0] for one in block if one.directive == "upstream" and one.args)


def _renamed(one: Statement, taken: frozenset[str]) -> Statement:
    """With the upstreams of the sidecar under other names than those that are ``taken``."""
    if one.directive == "upstream" and one.args[0] in taken:
        return one.with_args(f"origin_{one.args[0]}")
    if one.directive in ("grpc_pass", "proxy_pass"):
        scheme, _, name = one.args[0].partition("://")
        return one.with_args(f"{scheme}://origin_{name}") if name in taken else one
    if one.directive == "map" and one.args[-1] == _PROCESS:
        return one.with_block(
            tuple(
                row.with_args(f"origin_{row.args[0]}") if taken.intersection(row.args) else row
                for row in one.block or ()
            )
        )
    if not one.block:
        return one
    return one.with_block(tuple(_renamed(inner, taken) for inner in one.block))


def _shielded(one: Statement, neutral: list[str]) -> Statement:
    """The server ``one`` without what http says for those of clients."""
    block = one.block or ()
    own = {inner.directive for inner in block}
    made = []
    for number, line in enumerate(neutral):
        name, *args = line.split()
        if name in own or (name == "allow" and "deny" in own):
            continue
        is_lua = name.endswith("_by_lua_block")
        made.append(
            Statement(directive=name, args=(" ",) if is_lua else tuple(args), apart=not number)
        )
    return one.with_block((*block, *made)) if made else one
