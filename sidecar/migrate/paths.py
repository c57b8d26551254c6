"""Relative paths of a configuration, which would mean something else from its new place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sidecar.migrate import original
from sidecar.migrate.notes import Notes
from sidecar.migrate.tree import Statement, text_of

# Relative to the folder of the main file.
_OF_FILE = re.compile(
    r"include|auth_basic_user_file|geoip_(country|city|org)"
    r"|((proxy|grpc|uwsgi)_)?ssl_(certificate|certificate_key|trusted_certificate|crl|password_file"
    r"|client_certificate|dhparam|session_ticket_key|stapling_file)"
)
# Relative to the prefix. Logs, temporary files and the pid are not here: those of the new server
# go below its own prefix.
_OF_PREFIX = re.compile(r"root|alias|load_module|\w+_by_lua_file")
_ELSEWHERE = ("/", "$", "data:", "engine:", "unix:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """``folder``: that of the main file. ``prefix``: nginx's own, None = not known. Absolute."""

    folder: Path
    prefix: Path | None

    def base(self, directive: str) -> Path | None:
        """What a relative path of ``directive`` is relative to; None = not known, or no path."""
        if _OF_FILE.fullmatch(directive):
            return self.folder
        return self.prefix if _OF_PREFIX.fullmatch(directive) else None


def default_prefix(file: Path) -> Path | None:
    """The prefix that an nginx with the main file ``file`` (absolute) most probably has."""
    if file.parent.name == "conf":
        return file.parent.parent
    distribution = Path("/usr/share/nginx")
    return distribution if file.parent == Path("/etc/nginx") and distribution.is_dir() else None


def absolute(statement: Statement, places: Places, notes: Notes) -> Statement:
    """``statement`` with absolute paths; a note where that is not possible. Blocks stay."""
    if not statement.args or statement.block is not None:
        return statement
    path = text_of(statement.args[-1])
    if path == "off" or not path or path.startswith(_ELSEWHERE):
        return statement
    if statement.directive == "load_module" and original.is_replaced(path):
        return statement
    base = places.base(statement.directive)
    if base is not None:
        return statement.with_args(*statement.args[:-1], str(base / path))
    if _OF_PREFIX.fullmatch(statement.directive):
        notes.say(
            statement,
            f'"{path}" is relative to the folder of the former nginx: name that by --prefix',
        )
    return statement
