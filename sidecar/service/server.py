"""One sidecar process: a gRPC server on one Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import structlog
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from sidecar.rpc import origin_pb2, origin_pb2_grpc
from sidecar.service.child import BEAT_SECONDS
from sidecar.service.ingest import Ingest
from sidecar.service.ingest_api import PointApi
from sidecar.service.ingest_metrics import IngestMetrics
from sidecar.service.ingest_server import IngestServer
from sidecar.service.licensing import Licensing, load_licensing
from sidecar.service.logging import LogFormat, configure_logging
from sidecar.service.metrics import Metrics
from sidecar.service.observed import ObservedServicer
from sidecar.service.points import Points
from sidecar.service.presentations import PresentationCache
from sidecar.service.servicer import OriginServicer
from sidecar.service.spool import Spool

# A plan of a two-hour MPD is some 100 KB; the limit only has to stop nonsense.
MAX_MESSAGE_BYTES = 64 << 20
# Files are indexed in threads beside the event loop; more than two only fight for the disk.
INDEX_THREADS = 2

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """What one process serves.

    ``socket``: path of its Unix socket. ``index_budget``: bytes of track indexes that it keeps.
    ``grace``: seconds that calls in flight have to finish after a stop.
    ``spool``: folder for large bodies, of this process alone, None = none; ``spool_budget``: bytes.
    ``issuers``: files of the public keys whose license keys count.
    ``parent``: file descriptor that reads end-of-file when the supervisor is gone; ``beats``: one
    to which this process writes whenever a call over its socket was answered; None = alone.
    """

    socket: Path
    index_budget: int
    issuers: tuple[Path, ...]
    grace: float = 10.0
    log_format: LogFormat = "console"
    log_level: str = "info"
    parent: int | None = None
    beats: int | None = None
    spool: Path | None = None
    spool_budget: int = 0


def run_worker(settings: WorkerSettings) -> None:
    """Serves until SIGTERM, SIGINT or the supervisor's end, then finishes the calls in flight."""
    configure_logging(settings.log_format, settings.log_level)
    uvloop.run(_serve(settings))


async def _serve(settings: WorkerSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if settings.parent is not None:
        _watch_parent(settings.parent, loop, stop, settings.grace)
    with ThreadPoolExecutor(INDEX_THREADS, thread_name_prefix="index") as executor:
        presentations = PresentationCache(settings.index_budget, executor)
        spool = Spool(settings.spool, settings.spool_budget)
        licensing = load_licensing(settings.issuers, os.environ)
        licensing.check_own()
        # "3" of sidecar-3.sock
        worker = settings.socket.stem.rpartition("-")[2]
        metrics = Metrics(worker, presentations, spool, licensing)
        server, health_servicer = await make_server(
            presentations, licensing, spool, metrics=metrics
        )
        bind(server, settings.socket)
        await server.start()
        ingest_server = make_ingest_server(settings.socket, licensing, metrics)
        await ingest_server.start()
        # What is alive now stays alive: later collections need not look at it.
        gc.collect()
        gc.freeze()
        log.info("serving", socket=str(settings.socket), pid=os.getpid())
        beating = loop.create_task(_beat(settings.beats, Path(settings.socket.name)))
        await stop.wait()
        log.info("stopping", socket=str(settings.socket), pid=os.getpid())
        beating.cancel()
        await health_servicer.enter_graceful_shutdown()
        # Encoders connect again at once, to another process.
        await asyncio.gather(ingest_server.stop(settings.grace), server.stop(settings.grace))
        settings.socket.unlink(missing_ok=True)


async def make_server(
    presentations: PresentationCache,
    licensing: Licensing,
    spool: Spool | None = None,
    worker: str = "0",
    metrics: Metrics | None = None,
) -> tuple[grpc.aio.Server, health.aio.HealthServicer]:
    """A server with the origin, grpc.health.v1 and reflection; not yet bound, not started.

    ``metrics``: of this process; None = new ones, with the number ``worker``.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.so_reuseport", 0),
        ]
    )
    health_servicer = health.aio.HealthServicer()
    spool = Spool(None, 0) if spool is None else spool
    servicer = ObservedServicer(
        OriginServicer(presentations, licensing, spool),
        licensing,
        metrics or Metrics(worker, presentations, spool, licensing),
        health_servicer,
    )
    origin_pb2_grpc.add_OriginServicer_to_server(servicer, server)
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    name = origin_pb2.DESCRIPTOR.services_by_name["Origin"].full_name
    reflection.enable_server_reflection(
        (name, health.SERVICE_NAME, reflection.SERVICE_NAME), server
    )
    # Health of the whole server ("") is SERVING from the start; the service has a line of its own.
    health_servicer._server_status[name] = health_pb2.HealthCheckResponse.SERVING
    return server, health_servicer


def make_ingest_server(socket: Path, licensing: Licensing, metrics: Metrics) -> IngestServer:
    """The server for encoders of the process whose other socket is ``socket``; not started."""
    points = Points()
    ingest = Ingest(points, licensing, IngestMetrics(metrics.registry))
    path = socket.with_name(socket.name.replace("sidecar", "ingest"))
    return IngestServer(path, ingest, PointApi(points, licensing), points)


def bind(server: grpc.aio.Server, socket: Path) -> None:
    """Binds ``server`` to the Unix socket ``socket``, replacing a stale one, mode 0660.

    The socket is bound by its name in its folder, which becomes the working directory: a socket's
    address holds 107 bytes, which a long path would exceed. Raises ``OSError``.
    """
    socket.unlink(missing_ok=True)
    os.chdir(socket.parent)
    mask = os.umask(0o117)
    try:
        server.add_insecure_port(f"unix:{socket.name}")
    except RuntimeError as error:
        raise OSError(f"cannot listen on {socket}: {error}") from error
    finally:
        os.umask(mask)


async def _beat(descriptor: int | None, socket: Path) -> None:
    """Writes to ``descriptor`` every BEAT_SECONDS if a health check over ``socket`` (in the working
    directory) is answered, and it is still the one that was bound: others come through its name."""
    if descriptor is None:
        return
    bound = socket.stat()
    name = origin_pb2.DESCRIPTOR.services_by_name["Origin"].full_name
    request = health_pb2.HealthCheckRequest(service=name)
    async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError, OSError):
                reply = await check(request, timeout=BEAT_SECONDS)
                serves = reply.status == health_pb2.HealthCheckResponse.SERVING
                if serves and os.path.samestat(bound, socket.stat()):
                    os.write(descriptor, b".")
            await asyncio.sleep(BEAT_SECONDS)


def _watch_parent(
    descriptor: int, loop: asyncio.AbstractEventLoop, stop: asyncio.Event, grace: float
) -> None:
    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(descriptor, 64):
                pass
        loop.call_soon_threadsafe(stop.set)
        # A loop that hangs must not outlive its supervisor either.
        threading.Event().wait(grace + 5)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
