"""AWS Signature Version 4 of S3 requests, written from its specification: a second opinion on what
the origin signs, and forgeries for the storage to refuse."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import urllib.parse
from dataclasses import dataclass

_UNSIGNED = "UNSIGNED-PAYLOAD"
_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """``at``: the Unix time that signatures state."""

    key: str
    secret: str
    region: str
    at: float

    def presigned(self, url: str, *, expires: int, method: str = "GET") -> str:
        """``url`` with a signature in its query that holds for ``expires`` seconds."""
        parts = urllib.parse.urlsplit(url)
        query = [
            *urllib.parse.parse_qsl(parts.query, keep_blank_values=True),
            ("X-Amz-Algorithm", _ALGORITHM),
            ("X-Amz-Credential", f"{self.key}/{self._scope}"),
            ("X-Amz-Date", self._date),
            ("X-Amz-Expires", str(expires)),
            ("X-Amz-SignedHeaders", "host"),
        ]
        signature = self._signature(method, parts.path, query, {"host": parts.netloc})
        text = _encoded([*query, ("X-Amz-Signature", signature)])
        return urllib.parse.urlunsplit(parts._replace(query=text))

    def headers(self, url: str, *, method: str = "GET") -> dict[str, str]:
        """The headers that sign a request without a body for ``url``, which has no query."""
        parts = urllib.parse.urlsplit(url)
        signed = {
            "host": parts.netloc,
            "x-amz-content-sha256": _UNSIGNED,
            "x-amz-date": self._date,
        }
        signature = self._signature(method, parts.path, [], signed)
        credential = f"{self.key}/{self._scope}"
        return {
            **{name: value for name, value in signed.items() if name != "host"},
            "Authorization": f"{_ALGORITHM} Credential={credential}, "
            f"SignedHeaders={';'.join(sorted(signed))}, Signature={signature}",
        }

    @property
    def _date(self) -> str:
        when = datetime.datetime.fromtimestamp(self.at, datetime.UTC)
        return when.strftime("%Y%m%dT%H%M%SZ")

    @property
    def _scope(self) -> str:
        return f"{self._date[:8]}/{self.region}/s3/aws4_request"

    def _signature(
        self, method: str, path: str, query: list[tuple[str, str]], headers: dict[str, str]
    ) -> str:
        names = sorted(headers)
        request = "\n".join(
            [
                *(method, path, _encoded(sorted(query))),
                *(f"{name}:{headers[name]}" for name in names),
                *("", ";".join(names), _UNSIGNED),
            ]
        )
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = "\n".join([_ALGORITHM, self._date, self._scope, digest])
        key = f"AWS4{self.secret}".encode()
        for part in self._scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        return hmac.digest(key, text.encode(), "sha256").hex()


def _encoded(query: list[tuple[str, str]]) -> str:
    return urllib.parse.urlencode(query, quote_via=urllib.parse.quote, safe="-_.~")
