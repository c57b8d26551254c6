"""What a location's directives say of content on other servers."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial

from sidecar.clock import monotonic_ns, now_ns
from sidecar.errors import StorageError
from sidecar.formats.directives import is_on
from sidecar.mux.plan import CacheClass
from sidecar.rpc import origin_pb2
from sidecar.service.convert import SourceTable
from sidecar.storage.access import Access
from sidecar.storage.blocks import Blocks
from sidecar.storage.fetch import Fetcher
from sidecar.storage.remote import RemoteStore
from sidecar.storage.signing import Credentials
from sidecar.storage.source import SourceIdentity
from sidecar.storage.urls import canonical

PROXY_PASS, ALLOW_SRC = "ism_proxy_pass", "origin_allow_src"
VALID, STALE = "origin_remote_valid", "origin_remote_stale"
_KEYS = ("s3_access_key", "s3_secret_key", "s3_region", "s3_security_token", "s3_use_headers")
_OWN = (PROXY_PASS, VALID, STALE, *_KEYS)
_CONCERNED = frozenset({*_OWN, ALLOW_SRC})

# Bytes of files on other servers that are kept: indexes while they are made, media that is
# rewritten.
BLOCKS_BUDGET = 64 << 20
# Threads that wait for other servers; those for local files are others.
_THREADS = 16
# Addresses and signatures in plans are looked at again after this.
_TABLE_NS = 30 * 1_000_000_000
# Locations with different directives, in all configurations that were loaded lately.
_MOST = 64


class RemoteStores:
    """The stores of a process, one for locations that read the same in the same way.

    One event loop only.
    """

    def __init__(self) -> None:
        self._stores: OrderedDict[Access, RemoteStore] = OrderedDict()
        self._fetcher = Fetcher()
        self._blocks = Blocks(BLOCKS_BUDGET)
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="remote")

    def take(self, directives: MutableMapping[str, tuple[str, ...]]) -> RemoteStore | None:
        """What the location with ``directives`` reads on other servers, None = nothing there.

        The directives that say so, and hold secrets, are taken out; of ``origin_allow_src`` the
        folders are left. Raises ``StorageError`` when they contradict each other.
        """
        if directives.keys().isdisjoint(_CONCERNED):
            return None
        own = {name: directives.pop(name) for name in _OWN if name in directives}
        sources = directives.get(ALLOW_SRC, ())
        urls = [one for one in sources if "://" in one]
        if PROXY_PASS not in own and not urls:
            return None
        if urls:
            directives[ALLOW_SRC] = tuple(one for one in sources if "://" not in one)
        try:
            access = _access(tuple(own.items()), tuple(urls))
        except ValueError as error:
            raise StorageError(f"the location is not configured well: {error}", path="") from None
        store = self._stores.get(access)
        if store is None:
            store = RemoteStore(access, self._fetcher, self._blocks, self._executor)
            self._stores[access] = store
        self._stores.move_to_end(access)
        while len(self._stores) > _MOST:
            self._stores.popitem(last=False)
        return store


class RemoteTable:
    """The files ``identities`` in ``store``, and how plans list the files ``sources``.

    ``last_modified``: as in ``SourceTable``.
    """

    def __init__(
        self,
        store: RemoteStore,
        identities: tuple[SourceIdentity, ...],
        sources: Iterable[SourceIdentity],
        last_modified: int,
    ) -> None:
        self.store = store
        self.identities = identities
        self._sources = tuple(sources)
        self._last_modified = last_modified
        self._table: SourceTable | None = None
        self._made_ns = 0

    async def table(self, *, recheck: bool = False) -> SourceTable:
        """The files with addresses and signatures that are good for a while yet.

        Raises ``StorageError``, ``Forbidden`` when a server has no address.
        """
        table = self._table
        if table is None or recheck or monotonic_ns() - self._made_ns >= _TABLE_NS:
            made_ns = monotonic_ns()
            loop = asyncio.get_running_loop()
            table = await loop.run_in_executor(
                self.store.executor, remote_table, self.store, self._sources, self._last_modified
            )
            self._table, self._made_ns = table, made_ns
        return table


def remote_table(
    store: RemoteStore, sources: Iterable[SourceIdentity], last_modified: int
) -> SourceTable:
    """The files ``sources``, some of them in ``store``, as plans list them. May block.

    Raises ``StorageError``, ``Forbidden`` when a server has no address.
    """
    return SourceTable(sources, last_modified, partial(remote_message, store))


def ttl_ms(
    store: RemoteStore,
    identities: Iterable[SourceIdentity],
    table: SourceTable,
    cache_class: CacheClass,
) -> int:
    """Milliseconds that a plan may be kept which is made now of the files ``identities`` in
    ``store``, listed by ``table``: until one has to be looked at again, for half of what signatures
    last at the most. Where each manifest has to be made of what is there at that time, media may
    be kept for a second."""
    left = store.left_ms(identities)
    if table.expires_ms:
        # What is begun with the plan then has as long again to come to its end.
        left = min(left, (table.expires_ms - now_ns() // 1_000_000) // 2)
    # Whole seconds: what plans have in common is written anew when it changes.
    left -= left % 1000
    return max(left, 1000 if cache_class is CacheClass.MEDIA else 1)


def remote_message(store: RemoteStore, identity: SourceIdentity) -> origin_pb2.Remote:
    """How ranges of ``identity`` are requested, as plans say it."""
    request = store.request(identity)
    return origin_pb2.Remote(
        url=request.url,
        host=request.host,
        address=request.address,
        headers=[origin_pb2.Header(name=name, value=value) for name, value in request.headers],
        etag=identity.etag,
        expires_ms=request.expires_ms,
    )


@lru_cache(_MOST)
def _access(items: tuple[tuple[str, tuple[str, ...]], ...], urls: tuple[str, ...]) -> Access:
    """What the directives ``items``, and the URLs of ``origin_allow_src``, say. Raises
    ``ValueError``."""
    own = dict(items)
    given = own.get(PROXY_PASS, ())
    base = _folder(given[-1]) if given else ""
    seconds = {name: int(own[name][0]) for name in (VALID, STALE) if own.get(name)}
    default = Access()
    return Access(
        base=base,
        prefix=given[0] if len(given) > 1 else "/",
        allowed=tuple(map(_folder, urls)),
        credentials=_credentials(own),
        valid_seconds=seconds.get(VALID, default.valid_seconds),
        stale_seconds=seconds.get(STALE, default.stale_seconds),
    )


def _folder(url: str) -> str:
    try:
        return canonical(url if url.endswith("/") else f"{url}/")
    except ValueError as error:
        raise ValueError(f"a URL is not valid: {error}") from None


def _credentials(own: Mapping[str, tuple[str, ...]]) -> Credentials | None:
    access_key, secret_key, region, token = ("".join(own.get(name, ())) for name in _KEYS[:4])
    if not access_key and not secret_key:
        return None
    if not (access_key and secret_key and region):
        raise ValueError("s3_access_key, s3_secret_key and s3_region belong together")
    return Credentials(
        access_key=access_key,
        secret_key=secret_key,
        region=region,
        token=token,
        in_headers=is_on(own, "s3_use_headers"),
    )
