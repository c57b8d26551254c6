"""Players that look whether each manifest is true: what it lists can be fetched, and stays so."""

from __future__ import annotations

import http.client
import random
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.http import Client, Response
from tests.support.live_players import FORMATS, Listing

# How long an answer may take while processes are killed, seconds.
_PATIENCE = 60.0
# A segment that is asked for so long after it was listed may have left the window.
_STALE = 5.0
_PAUSE = 0.2


@dataclass(slots=True, kw_only=True)
class Seen:
    """What all players of a channel have met. ``digests``: of each segment, by URL; ``again``: how
    often something was asked for once more, as who was to answer had just been killed."""

    manifests: int = 0
    segments: int = 0
    again: int = 0
    wrong: list[str] = field(default_factory=list)
    digests: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def complain(self, what: str) -> None:
        """Something is not as it must be."""
        with self.lock:
            self.wrong.append(what)

    def keep(self, url: str, body: bytes) -> None:
        """The bytes of ``url`` never change."""
        digest = zlib.crc32(body)
        with self.lock:
            self.segments += 1
            before = self.digests.setdefault(url, digest)
        if before != digest:
            self.complain(f"{url} has other bytes than before")


class Patient:
    """Asks again where the answer is that nobody is there."""

    def __init__(self, base: str, seen: Seen) -> None:
        self._base = base
        self._seen = seen
        self._client = Client(base, timeout=_PATIENCE)

    def request(self, target: str) -> Response:
        """The answer of somebody who lives. Raises ``TimeoutError``."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            try:
                response = self._client.request(target)
                if response.status < 500:
                    return response
            except (OSError, http.client.HTTPException):
                self._client.close()
                self._client = Client(self._base, timeout=_PATIENCE)
            with self._seen.lock:
                self._seen.again += 1
            time.sleep(_PAUSE)
        raise TimeoutError(f"{target} is not answered")

    def close(self) -> None:
        self._client.close()


class Watcher(threading.Thread):
    """Asks for the manifests of ``channel`` in format ``of`` (as of ``live_players.FORMATS``) about
    each ``period`` seconds, and fetches what is new in them, the oldest, and some other segment."""

    def __init__(
        self,
        base: str,
        channel: str,
        of: str,
        query: str,
        seen: Seen,
        *,
        period: float,
        seed: int,
    ) -> None:
        super().__init__(daemon=True)
        self._channel = channel
        self._read: Callable[[Callable[[str], bytes], str], list[Listing]] = FORMATS[of]
        self._query = query
        self._seen = seen
        self._period = period
        self._random = random.Random(f"{seed} {channel} {of} {query}")
        self._patient = Patient(base, seen)
        self._newest: dict[str, list[str]] = {}
        self._begun = False
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Has it end soon."""
        self._stopping.set()

    def run(self) -> None:
        try:
            while not self._stopping.wait(self._period * self._random.uniform(0.5, 1.5)):
                self._look()
        except Exception as error:  # whatever it is, it must not go unnoticed
            self._seen.complain(f"{self._channel} {self._query}: {error!r}")
        finally:
            self._patient.close()

    def _look(self) -> None:
        answered = True
        listed = time.monotonic()

        def get(url: str) -> bytes:
            nonlocal answered
            response = self._patient.request(f"/{self._channel}.isml/{url}")
            if response.status != 200:
                answered = False
                raise LookupError(f"{url}: {response.status} {response.body[:200]!r}")
            return response.body

        try:
            listings = self._read(get, self._query)
        except LookupError as error:
            if self._begun or answered:
                self._seen.complain(f"{self._channel}: {error}")
            return  # nothing has been received yet
        with self._seen.lock:
            self._seen.manifests += 1
        self._begun = True
        for one in listings:
            self._check(one, listed)

    def _check(self, one: Listing, listed: float) -> None:
        urls = [segment.url for segment in one.segments]
        if len(set(urls)) != len(urls):
            self._seen.complain(f"{self._channel} {one.name}: a segment is listed twice")
        before = self._newest.get(one.name, [])
        self._newest[one.name] = urls
        self._compare(one, before, urls)
        known = set(before)
        there = one.urls
        wanted = [url for url in there if url not in known]
        if there:
            wanted += [there[0], self._random.choice(there)]
        for url in dict.fromkeys([*([one.init] if one.init and wanted else []), *wanted]):
            self._fetch(url, listed)

    def _compare(self, one: Listing, before: list[str], urls: list[str]) -> None:
        """A manifest goes on where the one before it was."""
        common = [url for url in before if url in set(urls)]
        where = f"{self._channel} {one.name}"
        if not common and urls:
            return  # slower than the window
        if common != before[len(before) - len(common) :]:
            self._seen.complain(f"{where}: {before[-1]} was the last one, now it is {urls[-1:]}")
        places = [urls.index(url) for url in common]
        # Only a playlist says what is missing; elsewhere it comes between when it comes late.
        expected = list(range(len(common))) if one.sequence is not None else sorted(places)
        if places != expected:
            self._seen.complain(f"{where}: what followed {common[0]} does not any more")

    def _fetch(self, url: str, listed: float) -> None:
        """``listed``: when a manifest that lists it was asked for."""
        target = f"/{self._channel}.isml/{url}"
        response = self._patient.request(target)
        if response.status == 200:
            self._seen.keep(target, response.body)
        elif time.monotonic() - listed < _STALE:
            self._seen.complain(f"{target} is listed, and answered with {response.status}")
