"""How long an answer may be used without asking again, as its server says."""

from __future__ import annotations

import re

# Whoever says more than this has hardly meant a server manifest.
MOST_SECONDS = 86400
_DIRECTIVE = re.compile(r'\s*([A-Za-z-]+)(?:=(?:"([^"]*)"|([^\s,]*)))?\s*(?:,|$)')
_AGAIN = frozenset({"no-store", "no-cache", "private"})


def fresh_seconds(cache_control: str) -> int | None:
    """Seconds by the header Cache-Control (RFC 9111 5.2.2), 0 = ask each time; None when it does
    not say. ``s-maxage`` is meant for caches that several clients share, as this one is."""
    found = {
        match[1].lower(): match[2] or match[3] or "" for match in _DIRECTIVE.finditer(cache_control)
    }
    if found.keys() & _AGAIN:
        return 0
    for name in ("s-maxage", "max-age"):
        if re.fullmatch(r"\d{1,10}", found.get(name, "")):
            return min(int(found[name]), MOST_SECONDS)
    return None
