"""Servers and locations: what the original's directives in them come to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from sidecar.migrate import original, phases
from sidecar.migrate.notes import Notes
from sidecar.migrate.objects import Objects
from sidecar.migrate.shipped import is_ingest
from sidecar.migrate.tree import Statement, each, write

# A location with one of these has its own answers.
_ANSWERS = re.compile(
    r"(proxy|fastcgi|uwsgi|scgi|grpc|memcached)_pass|return|empty_gif|stub_status|js_content"
    r"|content_by_lua(_block|_file)?|dav_methods|perl|flv"
)
# A location of those names is meant for streaming: "\.[is]sml?/", "/vod/.*\.ism".
_NAMES_MANIFESTS = re.compile(r"\[is\]sm|\[si\]sm|ism|\(i\|s\)sm")
_OLD_FORM = re.compile(r"\.\w*sm\w*\?(.*&)?bitrate=")

_CONTENT = "content_by_lua_block"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What outer blocks say. ``flags``: directives that are on or off, and the arguments of those
    that have any. ``in_location``: whether one of the blocks is a location. ``log``: a
    ``log_by_lua`` that is inherited."""

    flags: dict[str, bool | str] = field(default_factory=dict)
    in_location: bool = False
    has_alias: bool = False
    log: Statement | None = None


@dataclass(slots=True, kw_only=True)
class Work:
    """One migration. ``log_lua``: what Lua runs after each request, "" = nothing. ``indent``: of a
    level. ``ingest``: for the end of each server that streams. ``streaming``: locations that
    stream, so far."""

    notes: Notes
    objects: Objects
    log_lua: str
    indent: str
    ingest: tuple[Statement, ...] = ()
    streaming: int = 0


def own_flags(block: tuple[Statement, ...], notes: Notes) -> dict[str, bool | str]:
    """The flags that stand in ``block`` itself, and what has arguments."""
    flags: dict[str, bool | str] = {}
    for one in block:
        name = original.ANCESTORS.get(one.directive, one.directive)
        if name in original.VALUES:
            value = original.value(name, one.args)
            if value is None:
                notes.leave_out(one, "its arguments cannot be carried over")
            else:
                flags[name] = value
        if name not in original.FLAGS:
            continue
        if one.args not in ((), ("on",), ("off",)):
            notes.leave_out(one, 'it takes "on" or "off"')
        else:
            flags[name] = one.args != ("off",)
    return flags


def server(statement: Statement, scope: Scope, work: Work) -> Statement:
    """The server block ``statement``, rewritten."""
    block = statement.block or ()
    inner = _entered(block, scope, work.notes)
    before = work.streaming
    found = each(block, lambda one: _in_server(one, inner, work))
    if work.streaming == before and any(inner.flags.get(one) for one in original.HANDLERS):
        work.notes.say(statement, r"this server streams: a location ~ \.[is]sml?/ is made for it")
        found = (*found, _own_location(_signing(statement, inner, work), work))
    if work.streaming > before and work.log_lua:
        found = _logging(found, inner, work)
    if work.streaming > before and not any(map(is_ingest, block)):
        found = (*found, *work.ingest)
    return statement.with_block(found)


def _entered(block: tuple[Statement, ...], scope: Scope, notes: Notes) -> Scope:
    log = next((one for one in block if phases.phase_of(one) == "log"), scope.log)
    own = own_flags(block, notes)
    streams = any(own.get(name) for name in original.HANDLERS if name != original.API)
    inherited = scope.flags
    if streams:  # rather than what the outer block does
        inherited = {name: on for name, on in inherited.items() if name != original.API}
    return replace(scope, flags={**inherited, **own}, log=log)


def _in_server(one: Statement, scope: Scope, work: Work) -> list[Statement]:
    if one.directive == "location":
        return [location(one, scope, work)]
    if one.directive == "if":
        return [_left_alone(one, work, '"if" outside of a location')]
    return carried(one, work.notes)


def carried(one: Statement, notes: Notes) -> list[Statement]:
    """``one`` as it stands in a block: nothing of the original's own stays but a comment on what
    is left out."""
    if not original.is_its_own(one.directive) and one.directive not in original.ANCESTORS:
        return [one]
    if one.directive in (*original.FLAGS, *original.VALUES, *original.ANCESTORS):
        return []
    if one.directive == original.LICENSE:
        notes.say(
            one,
            "the license key of the original is none here: license/license.key takes its place",
        )
        return []
    near = original.nearest(one.directive)
    reason = "it is unknown" + (f' (did you mean "{near}"?)' if near else "")
    notes.leave_out(one, reason)
    source = " ".join(write((replace(one, text=None, apart=False),)).split())
    comment = replace(one, comment=f" {source}  ({reason})", directive="", args=(), text=None)
    return [replace(comment, block=None)]


def _left_alone(statement: Statement, work: Work, where: str) -> Statement:
    """A block in which the original's directives can do nothing."""

    def rewritten(one: Statement) -> list[Statement]:
        if one.block is not None:
            return [_left_alone(one, work, where)]
        if original.is_known(one.directive):
            work.notes.leave_out(one, f"it does nothing in {where}")
            return []
        return carried(one, work.notes)

    return statement.with_block(each(statement.block or (), rewritten))


def location(statement: Statement, scope: Scope, work: Work) -> Statement:
    """The location block ``statement``, or an "if" in a location, rewritten."""
    block = statement.block or ()
    own = own_flags(block, work.notes)
    inner = replace(
        _entered(block, scope, work.notes),
        in_location=True,
        has_alias=scope.has_alias or any(one.directive == "alias" for one in block),
    )
    if not _streams(statement, own, inner, scope):
        return statement.with_block(each(block, lambda one: _in_location(one, inner, work)))
    work.streaming += 1
    if own.get(original.API) and any(
        own.get(one) for one in original.HANDLERS if one != original.API
    ):
        work.notes.say(
            statement, "usp_handle_api takes all of this location: what streams needs another one"
        )
    inner = _signing(statement, inner, work)
    content = _content(inner, work)
    if scope.has_alias and not any(one.directive in ("alias", "root") for one in block):
        work.notes.say(statement, "the alias of the outer location is not followed: say root")
    found = _streaming(statement, inner, content, work)
    if not any(one.args == content.args for one in found):
        found = (*found, content)
    return statement.with_block(found)


def _streams(statement: Statement, own: dict[str, bool | str], inner: Scope, outer: Scope) -> bool:
    if any(own.get(name) for name in original.HANDLERS):
        return True
    if statement.directive == "if" or not any(inner.flags.get(name) for name in original.HANDLERS):
        return False
    if _answers(statement.block or ()):
        return False
    return outer.in_location or names_manifests(statement)


def _answers(block: tuple[Statement, ...]) -> bool:
    return any(_ANSWERS.fullmatch(one.directive) for one in block)


def names_manifests(statement: Statement) -> bool:
    """Whether the location ``statement`` is meant for server manifests, by its name."""
    return _NAMES_MANIFESTS.search(" ".join(statement.args)) is not None


def _signing(statement: Statement, scope: Scope, work: Work) -> Scope:
    """``scope`` without keys where requests cannot be signed with them."""
    said = [bool(scope.flags.get(name)) for name in original.SIGNING[:3]]
    if all(said) or not any(said[:2]):
        return scope
    work.notes.lost += 1
    work.notes.say(
        statement, "the keys are left out: s3_access_key, s3_secret_key and s3_region go together"
    )
    kept = {name: on for name, on in scope.flags.items() if name not in original.SIGNING}
    return replace(scope, flags=kept)


def _content(scope: Scope, work: Work) -> Statement:
    on = {name: value for name, value in scope.flags.items() if value}
    if original.API in on:
        on = {original.API: True}
    said = [name if value is True else f"{name} {value}" for name, value in on.items()]
    return Statement(directive=_CONTENT, args=(f" {work.objects.name(said)}:content() ",))


def _streaming(
    statement: Statement, scope: Scope, content: Statement, work: Work
) -> tuple[Statement, ...]:
    """The block of a location that streams; ``content`` is where its first handler was, if any."""
    placed = False

    def rewritten(one: Statement) -> list[Statement]:
        nonlocal placed
        if one.directive in (*original.HANDLERS, *original.ANCESTORS) and not placed:
            placed = True
            if one.directive == "mp4":
                work.notes.say(one, "downloads come from the origin now, parts by ?start=&end=")
            return [replace(content, file=one.file, line=one.line, apart=one.apart)]
        if one.directive == "alias":
            return _root(one, statement, work)
        if phases.phase_of(one) == "log" and work.log_lua:
            return [_merged_log(one, work, 3)]
        if one.directive == "rewrite" and any(_OLD_FORM.search(arg) for arg in one.args):
            work.notes.say(one, "URLs with bitrate= are not understood: leave this out")
        return _in_location(one, scope, work)

    return each(statement.block or (), rewritten)


def _in_location(one: Statement, scope: Scope, work: Work) -> list[Statement]:
    if one.directive in ("location", "if"):
        return [location(one, scope, work)]
    if one.directive == "limit_except":
        return [_left_alone(one, work, '"limit_except"')]
    return carried(one, work.notes)


def _root(alias: Statement, place: Statement, work: Work) -> list[Statement]:
    """Instead of ``alias``, which the paths of assets do not know: root, and the URL without what
    the location ``place`` is called."""
    args = place.args
    if place.directive != "location" or args[0] in ("~", "~*", "="):
        work.notes.leave_out(alias, 'say "root" here, and "rewrite ... break" for the rest')
        return []
    name = re.escape(args[-1])
    pattern, target = (f"^{name}(.*)$", "/$1") if name.endswith("/") else (f"^{name}(.*)$", "$1")
    return [
        replace(alias, directive="rewrite", args=(pattern, target, "break"), text=None),
        replace(alias, directive="root", text=None, apart=False),
    ]


def _own_location(scope: Scope, work: Work) -> Statement:
    work.streaming += 1
    return Statement(
        directive="location",
        args=("~", r"\.[is]sml?/"),
        block=(_content(scope, work),),
        apart=True,
    )


def _merged_log(theirs: Statement, work: Work, depth: int) -> Statement:
    return phases.merged("log", work.log_lua, theirs, work.indent * depth, work.indent)


def _logging(block: tuple[Statement, ...], scope: Scope, work: Work) -> tuple[Statement, ...]:
    """The block of a server that counts its requests."""
    if any(phases.phase_of(one) == "log" for one in block):
        return tuple(
            _merged_log(one, work, 2) if phases.phase_of(one) == "log" else one for one in block
        )
    if scope.log is not None:  # that of http, which this one would hide
        made = replace(_merged_log(scope.log, work, 2), apart=True)
    else:
        made = phases.block("log", [work.log_lua], work.indent * 2, work.indent)
        made = replace(made, apart=True)
    first = next((n for n, one in enumerate(block) if one.directive == "location"), len(block))
    while first and block[first - 1].comment is not None and not block[first - 1].beside:
        first -= 1
    return (*block[:first], made, *block[first:])
