"""What a location may read on other servers, and how long it takes it for granted."""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.errors import BadRequest, Forbidden
from sidecar.storage.signing import Credentials
from sidecar.storage.urls import encoded_path, joined, split_server


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """``base``: canonical URL, with a slash at its end, below which the location's content is, "" =
    on this computer. ``prefix``: of request paths, with slashes at both ends, that stands for it.
    ``allowed``: canonical URLs with a slash at their end below which sources may be as well.
    ``credentials``: for what is on the server of ``base``, without that for all that is allowed.
    ``valid_seconds``: after which it is looked again whether a file is what it was;
    ``stale_seconds``: for which what is known is served while that cannot be found out.
    """

    base: str = ""
    prefix: str = "/"
    allowed: tuple[str, ...] = ()
    credentials: Credentials | None = None
    valid_seconds: int = 10
    stale_seconds: int = 3600

    def url_of(self, path: str) -> str:
        """The URL of what the request path ``path``, decoded, names. Raises ``BadRequest``."""
        if not path.startswith(self.prefix):
            raise BadRequest("the path does not lie below that of the storage")
        server, base = split_server(self.base)
        try:
            below = encoded_path(["", *path.removeprefix(self.prefix).split("/")])
        except ValueError as error:
            raise BadRequest(f"the path is not valid: {error}") from None
        return f"{server}{base.rstrip('/')}{below}"

    def url_of_source(self, document: str, src: str) -> str:
        """The URL of what the document at the URL ``document`` ("" = on this computer, so that only
        URLs are names here) calls ``src``. Raises ``Forbidden``."""
        try:
            url = joined(document or self.base or self.allowed[0], src)
        except ValueError as error:
            raise Forbidden(f"the name of a source is not valid: {error}") from None
        if not self.admits(url):
            raise Forbidden("a source lies where this location may not read", path=url)
        return url

    def admits(self, url: str) -> bool:
        """Whether the location may read the canonical URL ``url``."""
        return any(url.startswith(one) for one in (self.base, *self.allowed) if one)

    def credentials_for(self, url: str) -> Credentials | None:
        """What requests for ``url`` are signed with."""
        if self.base and split_server(url)[0] != split_server(self.base)[0]:
            return None
        return self.credentials
