"""URLs of content on other servers, in one form, so that they can be compared."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import quote, unquote, urlsplit

_PORTS = {"http": 80, "https": 443}
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
# What a server that decodes once more than others would take for "/", "." or "\\".
_TWICE = re.compile(r"%(?:2f|5c|2e|00|25)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def canonical(text: str) -> str:
    """The URL ``text`` with its host in lower case, without the scheme's own port, its path
    percent-encoded where it has to be and nowhere else.

    Raises ``ValueError`` (why, without the URL) for other schemes, users, queries and fragments,
    and for paths that servers understand in different ways.
    """
    if _CONTROL.search(text) or "\\" in text or " " in text:
        raise ValueError("it has characters that no URL has")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("it is not a URL") from None
    scheme = parts.scheme.lower()
    if scheme not in _PORTS:
        raise ValueError("it does not begin with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("it names a user")
    if "?" in text or "#" in text:
        raise ValueError("it has a query or a fragment")
    host = _host(parts.hostname or "")
    where = host if port is None or port == _PORTS[scheme] else f"{host}:{port}"
    return f"{scheme}://{where}{encoded_path(unquote_path(parts.path or '/'))}"


def unquote_path(path: str) -> list[str]:
    """The segments of a percent-encoded path, decoded. Raises ``ValueError`` when decoding one
    gives what must not be in a name."""
    segments = [unquote(segment, errors="strict") for segment in path.split("/")]
    if any("/" in segment for segment in segments):
        raise ValueError("it has an encoded slash")
    return segments


def encoded_path(segments: list[str]) -> str:
    """``segments``, decoded, as the path of a URL; the first one is empty.

    Raises ``ValueError`` when one is ``.`` or ``..``, empty but for the last, or has characters
    that servers understand in different ways.
    """
    if segments[0]:
        raise ValueError("it is not absolute")
    for segment in segments[1:]:
        if segment in (".", ".."):
            raise ValueError("it has a segment that is . or ..")
        if "\\" in segment or _CONTROL.search(segment) or _TWICE.search(segment):
            raise ValueError("it has characters that are not allowed in names")
    if any(not segment for segment in segments[1:-1]):
        raise ValueError("it has an empty segment")
    return "/".join(quote(segment, safe="") for segment in segments)


def joined(base: str, src: str) -> str:
    """The canonical URL that ``src``, in a document at the canonical URL ``base``, means: a URL, or
    a path relative to the document's folder or to the root of its server.

    Raises ``ValueError`` as ``canonical``.
    """
    if "://" in src:
        return canonical(src)
    if src.startswith("//") or _SCHEME.match(src):
        raise ValueError("it is neither a path nor begins with http:// or https://")
    if "?" in src or "#" in src:
        raise ValueError("it has a query or a fragment")
    server, path = split_server(base)
    segments = unquote_path(src)
    if src.startswith("/"):
        found = [""]
        segments = segments[1:]
    else:
        found = unquote_path(path)[:-1]
    for segment in segments:
        if segment == "..":
            if len(found) == 1:
                raise ValueError("it leads above the root of the server")
            found.pop()
        elif segment != ".":
            found.append(segment)
    return server + encoded_path(found)


def split_server(url: str) -> tuple[str, str]:
    """Scheme and host, and the path, of a canonical URL."""
    end = url.index("/", url.index("://") + 3)
    return url[:end], url[end:]


def endpoint(url: str) -> tuple[str, str, int]:
    """Scheme, host (IPv6 without brackets) and port of a canonical URL."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme]


def host_header(url: str) -> str:
    """The Host header of requests for a canonical URL."""
    return split_server(url)[0].partition("://")[2]


def _host(host: str) -> str:
    """``host`` in lower case, IPv6 with brackets. Raises ``ValueError``."""
    if ":" in host:
        try:
            address = ipaddress.IPv6Address(host)
        except ValueError:
            address = None
        if address is None or address.scope_id is not None:
            raise ValueError("its host is not valid")
        return f"[{address}]"
    host = host.lower().removesuffix(".")
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("its host is not valid")
    if re.fullmatch(r"(?:0x[0-9a-f]*|[0-9]+)", labels[-1]):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            # 127.1, 0x7f000001, 2130706433: resolvers take them for addresses.
            raise ValueError("its host is not valid") from None
    return host
