"""nginx with openresty.conf over a sidecar that does what a test says."""

from __future__ import annotations

import contextlib
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from sidecar.cli.instance import Instance, admin_port_of, render
from sidecar.cli.nginx import find_nginx
from sidecar.rpc import origin_pb2 as pb
from sidecar.rpc import origin_pb2_grpc
from tests.support.http import Client, Response
from tests.support.media import ROOT
from tests.support.ports import free_port
from tests.support.stack import eventually, is_alive, nginx_workers

Answer = Callable[[pb.PlanRequest, Any], pb.PlanReply]


def source_of(path: Path) -> pb.Source:
    """The identity of a file as the sidecar reports it."""
    path = path.resolve()
    stat = path.stat()
    return pb.Source(
        path=str(path), size=stat.st_size, mtime_ns=stat.st_mtime_ns, inode=stat.st_ino
    )


def inline(data: bytes, **fields: Any) -> pb.Plan:
    """A plan whose body is ``data``; kept for as long as its sources say, when it has any."""
    fields = {"status": 200, "content_type": "text/plain"} | fields
    return pb.Plan(parts=[pb.Part(inline=data)], length=len(data), **fields)


def ranges(path: Path, listed: list[tuple[int, int]], head: bytes = b"", **fields: Any) -> pb.Plan:
    """A media plan: ``head``, then byte ranges (offset, length) of one file."""
    parts = [pb.Part(inline=head)] if head else []
    offset, length = zip(*listed, strict=True)
    parts.append(pb.Part(file=pb.FileRanges(source=0, offset=offset, length=length)))
    fields = {"status": 200, "content_type": "video/mp4", "cache_class": pb.CACHE_MEDIA} | fields
    return pb.Plan(parts=parts, length=len(head) + sum(length), sources=[source_of(path)], **fields)


def refusal(result: pb.Result, status: int, sentence: str) -> pb.Plan:
    body = f"{sentence}\n".encode()
    return inline(body, result=result, status=status)


class FakeSidecar(origin_pb2_grpc.OriginServicer):
    """One process' worth of sidecar. ``answer``: what to reply; ``calls``: what came.

    ``verdict``: the plan for nginx that has its license key verified at the start, ``verified``:
    those requests. ``metrics``, ``ready``: what it says of itself.
    """

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.calls: list[pb.PlanRequest] = []
        self.verified: list[pb.PlanRequest] = []
        self.verdict = refusal(pb.FMP4_METHOD_NOT_ALLOWED, 405, "only GET")
        self.answer: Answer = lambda request, context: pb.PlanReply(
            plan=refusal(pb.FMP4_NOT_FOUND, 404, "nothing")
        )
        self.metrics = pb.MetricsReply()
        self.ready = pb.ReadyReply()
        self._lock = threading.Lock()
        self._server: grpc.Server | None = None

    def Plan(self, request: pb.PlanRequest, context: Any) -> pb.PlanReply:  # noqa: N802
        if request.method == "OPTIONS":
            self.verified.append(request)
            return pb.PlanReply(plan=self.verdict)
        with self._lock:
            self.calls.append(request)
        return self.answer(request, context)

    def Metrics(  # noqa: N802
        self, request: pb.MetricsRequest, context: Any
    ) -> pb.MetricsReply:
        return self.metrics

    def Ready(self, request: pb.ReadyRequest, context: Any) -> pb.ReadyReply:  # noqa: N802
        return self.ready

    def start(self) -> None:
        size = 64 << 20
        self._server = grpc.server(
            ThreadPoolExecutor(32),
            options=[("grpc.max_send_message_length", size)],
        )
        origin_pb2_grpc.add_OriginServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        assert self._server.add_insecure_port(f"unix:{self.socket}")
        self._server.start()
        self.socket.chmod(0o660)

    def stop(self) -> None:
        if self._server:
            self._server.stop(None).wait()
            self._server = None
            self.socket.unlink(missing_ok=True)

    def asked(self, virtual_path: str) -> int:
        """How often a plan for that virtual path was asked for."""
        with self._lock:
            return sum(call.virtual_path == virtual_path for call in self.calls)


@dataclass(kw_only=True)
class FakeStack:
    """A running nginx. ``sidecar``: the fake behind it; ``media``: its document root."""

    root: Path
    port: int
    sidecar: FakeSidecar
    process: subprocess.Popen[bytes]
    opened: list[Client] = field(default_factory=list)

    @property
    def media(self) -> Path:
        return self.root / "docs"

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin(self) -> Client:
        """A connection to where metrics and health are answered."""
        client = Client(f"http://127.0.0.1:{admin_port_of(self.port)}")
        self.opened.append(client)
        return client

    @property
    def workers(self) -> list[int]:
        return nginx_workers(self.process.pid)

    def client(self, *, timeout: float = 60) -> Client:
        client = Client(self.base, timeout=timeout)
        self.opened.append(client)
        return client

    def at_once(self, targets: list[str], go_on: threading.Event) -> list[Response]:
        """The answers to requests of which nginx has all before ``go_on`` is set.

        Each has a connection of its own. An ``answer`` of the sidecar that waits for ``go_on``
        thus keeps all of them waiting, however slow the machine.
        """
        go_on.clear()
        clients = [Client(self.base) for _ in targets]
        try:
            for client, target in zip(clients, targets, strict=True):
                client.send(target)
            ports = {client.port for client in clients}
            eventually(lambda: self._taken(ports), "nginx has read every request")
            go_on.set()
            return [client.receive() for client in clients]
        finally:
            go_on.set()
            for client in clients:
                client.close()

    def _taken(self, ports: set[int]) -> bool:
        """Whether nginx has accepted the connections from ``ports`` and read all they sent."""
        ours = f":{self.port:04X}"
        found = set()
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, remote, _, queues, *_, inode = line.split()[:10]
            port = int(remote.partition(":")[2], 16)
            unread = int(queues.partition(":")[2], 16)
            if local.endswith(ours) and inode != "0" and not unread and port in ports:
                found.add(port)
        return found == ports

    def error_log(self) -> str:
        return (self.root / "logs" / "error.log").read_text(errors="replace")

    def complaints(self) -> list[str]:
        """Lines of the error log that are more than notices."""
        return [line for line in self.error_log().splitlines() if "[notice]" not in line]

    def access_log(self, expected: str) -> list[str]:
        """The lines of the access log in which ``expected`` is; waits for the first one. nginx
        writes them when all of an answer has been sent, so whoever has read it may come first."""
        log = self.root / "logs" / "access.log"

        def lines() -> list[str]:
            return [line for line in log.read_text().splitlines() if expected in line]

        eventually(lambda: bool(lines()), f"{expected} in the access log")
        return lines()


Edit = Callable[[str], str]


def prepare(root: Path, *, edit: Edit = lambda text: text, workers: int = 1) -> tuple[Path, int]:
    """Makes a prefix directory; returns its configuration and port."""
    port = free_port()
    (root / "docs").mkdir()
    instance = Instance(root)
    instance.make_folders(find_nginx())
    (root / "lua").symlink_to(ROOT / "lua")
    # whatever it says: the fake takes it
    instance.license.mkdir()
    (instance.license / "license.key").write_text("a key\n")
    (root / "media").symlink_to("docs")
    text = render((ROOT / "openresty.conf").read_text(), port=port, workers=1)
    text = text.replace("worker_processes auto;", f"worker_processes {workers};")
    # Each request's line at once.
    text = re.sub(r"(access_log logs/access\.log \w+) buffer=\w+ flush=\w+;", r"\1;", text)
    edited = edit(text)
    instance.conf.write_text(edited)
    return instance.conf, port


def command(root: Path) -> list[str]:
    binary = find_nginx().binary
    early_log = root / "logs" / "error.log"
    return [
        *(binary, "-p", f"{root}/", "-c", str(root / "openresty.conf"), "-e", str(early_log)),
        *("-g", "daemon off;"),
    ]


@contextlib.contextmanager
def fake_stack(
    root: Path, *, edit: Edit = lambda text: text, workers: int = 1
) -> Iterator[FakeStack]:
    """Runs nginx and a fake sidecar; ``edit`` changes the configuration first."""
    _, port = prepare(root, edit=edit, workers=workers)
    sidecar = FakeSidecar(root / "sockets" / "sidecar-0.sock")
    sidecar.start()
    process = subprocess.Popen(command(root), cwd=root)
    stack = FakeStack(root=root, port=port, sidecar=sidecar, process=process)
    try:
        eventually(lambda: _answers(stack), "nginx answers")
        yield stack
    finally:
        for client in stack.opened:
            client.close()
        process.terminate()
        process.wait(60)
        sidecar.stop()
        eventually(lambda: not is_alive(process.pid), "end of nginx")


def _answers(stack: FakeStack) -> bool:
    assert stack.process.poll() is None, stack.error_log()
    try:
        return Client(stack.base).request("/none").status == 404
    except OSError:
        return False
