"""``origin create -o ch.isml``: the manifest of a publishing point, as a file or over HTTP."""

from __future__ import annotations

import base64
import http.client
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import click

from sidecar.media.server_manifest import ServerManifest, write_server_manifest
from sidecar.storage.whole import write_whole

EXTENSION = ".isml"
_URL = re.compile(r"https?://", re.IGNORECASE)
_SECONDS = 30
_MAX_ANSWER = 4096


class _Unmoved(HTTPRedirectHandler):
    """What manages publishing points answers itself."""

    def redirect_request(self, *_: object) -> None:
        return None


def create_point(output: str, options: Mapping[str, str]) -> None:
    """Writes the publishing point ``output``, a path or a URL of an origin's API (docs/live.md).

    ``options``: of its head. Raises ``click.ClickException``, ``OSError``.
    """
    data = write_server_manifest(
        ServerManifest(metas=(("creator", "OpenOrigin"), *options.items()))
    )
    if _URL.match(output):
        click.echo(f"{_shown(output)}: {_put(output, data)}")
        return
    path = Path(output)
    if not path.parent.is_dir():
        raise click.ClickException(f"{path.parent}: no such folder")
    existed = path.exists()
    write_whole(path, data)
    click.echo(f"{output}: {'changed' if existed else 'created'}")


def _put(url: str, data: bytes) -> str:
    """Sends ``data``; returns what has become of the publishing point."""
    parts = urlsplit(url)
    headers = {"Content-Type": "application/smil+xml", "Accept": "application/json"}
    if parts.username is not None:
        name, password = unquote(parts.username), unquote(parts.password or "")
        headers["Authorization"] = (
            f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"
        )
    request = Request(_shown(url), data=data, headers=headers, method="PUT")
    try:
        with build_opener(_Unmoved).open(request, timeout=_SECONDS) as answer:
            return "created" if answer.status == http.client.CREATED else "changed"
    except HTTPError as error:
        said = error.read(_MAX_ANSWER).decode(errors="replace").strip().partition("\n")[0]
        raise click.ClickException(f"{_shown(url)}: {error.code} {said[:200]}") from None
    except (URLError, http.client.HTTPException, TimeoutError) as error:
        reason = getattr(error, "reason", None) or error
        raise click.ClickException(f"{_shown(url)}: {reason}") from None


def _shown(url: str) -> str:
    """``url`` without name and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
