"""An S3 service that verifies signatures: OpenStack Swift with its s3api, in one process.

    with serve_s3(folder) as s3:
        s3.put("films", "film.mp4", data)
        s3.url("films", "film.mp4")

Swift's four servers, which are WSGI applications, listen on loopback and keep all they have in the
folder. It is the real thing, with rings and replicas, and slow: about a hundred requests a second.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tests.support.http import Client
from tests.support.media import ROOT
from tests.support.remote_http import Asked
from tests.support.stack import PATIENCE

KEY, SECRET, REGION = "test:tester", "a-secret/of+the=tests", "eu-test-1"
# Virtual-host style: http://BUCKET.localhost:PORT/KEY. Names in this domain are not known
# everywhere, so the bucket "127" is also http://127.0.0.2:PORT/KEY, in the domain 0.0.2.
DOMAIN = "localhost"
HOST_BUCKET, _HOST, _HOST_DOMAIN = "127", "127.0.0.2", "0.0.2"
_ACCOUNT = "AUTH_test"


class S3:
    """The running service. ``base``: its URL, path style; ``host_base``: that of ``HOST_BUCKET``,
    virtual-host style."""

    def __init__(self, folder: Path, port: int, admin_port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self.host_base = f"http://{_HOST}:{port}"
        self.port = port
        self._admin = Client(f"http://127.0.0.1:{admin_port}")
        self._log = folder / "requests.log"

    def url(self, bucket: str, key: str = "") -> str:
        return f"{self.base}/{bucket}/{urllib.parse.quote(key)}"

    def put(self, bucket: str, key: str, data: bytes) -> None:
        """Stores an object; makes the bucket when there is none."""
        path = f"/v1/{_ACCOUNT}/{bucket}"
        assert self._admin.request(path, method="PUT").status in (201, 202)
        target = f"{path}/{urllib.parse.quote(key)}"
        answer = self._admin.request(target, method="PUT", body=data)
        assert answer.status == 201, answer

    def put_all(self, bucket: str, folder: Path) -> None:
        """Stores all files below ``folder``."""
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            self.put(bucket, path.relative_to(folder).as_posix(), path.read_bytes())

    def delete(self, bucket: str, key: str) -> None:
        target = f"/v1/{_ACCOUNT}/{bucket}/{urllib.parse.quote(key)}"
        assert self._admin.request(target, method="DELETE").status == 204

    def asked(self) -> list[Asked]:
        """The S3 requests that were answered, in the order of their answers; ``sent``: what these
        announced."""
        lines = self._log.read_text().splitlines()
        return [_asked(json.loads(line)) for line in lines]

    def close(self) -> None:
        self._admin.close()


def _asked(line: dict[str, Any]) -> Asked:
    part = line.pop("range")
    return Asked(**line, range=(part[0], part[1]) if part else None)


@contextmanager
def serve_s3(folder: Path, *, ahead: float = 0.0) -> Iterator[S3]:
    """Runs the service, which keeps what it has in ``folder``.

    ``ahead``: seconds by which its clock is. Raises ``RuntimeError`` with its words when it does
    not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "start.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.remote_s3", folder, str(ahead)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        assert process.stdout is not None
        ready = select.select([process.stdout], [], [], PATIENCE)[0] and process.stdout.readline()
        if not ready:
            raise RuntimeError((folder / "start.log").read_text())
        running = S3(folder, **json.loads(ready))
        try:
            yield running
        finally:
            running.close()
    finally:
        process.kill()
        process.communicate()


# What follows runs in the process of the service.

_PROXY = f"""
[DEFAULT]
swift_dir = {{folder}}
user = {{user}}
log_level = ERROR
[pipeline:main]
pipeline = catch_errors gatekeeper listing_formats s3api tempauth proxy-server
[pipeline:admin]
pipeline = catch_errors proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = {REGION}
storage_domain = {DOMAIN}, {_HOST_DOMAIN}
allow_multipart_uploads = false
auth_pipeline_check = false
[filter:tempauth]
use = egg:swift#tempauth
user_{KEY.replace(":", "_")} = {SECRET} .admin
"""

_SWIFT = """
[swift-hash]
swift_hash_path_prefix = a
swift_hash_path_suffix = b
[storage-policy:0]
name = one
default = yes
"""

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def _logged(application: Application, log: IO[str]) -> Application:
    """``application``, with a line in ``log`` for each request once its answer begins."""

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        query = environ.get("QUERY_STRING", "")
        headers = {
            name[5:].lower().replace("_", "-"): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        line: dict[str, Any] = {
            "method": environ["REQUEST_METHOD"],
            "target": environ["RAW_PATH_INFO"] + (f"?{query}" if query else ""),
            "headers": headers,
            "status": 0,
            "sent": 0,
            "range": None,
        }

        def started(status: str, sent: list[tuple[str, str]], *rest: Any) -> Any:
            line["status"] = int(status[:3])
            for name, value in sent:
                if name.lower() == "content-range" and "*" not in value:
                    first, _, last = value.split()[1].partition("/")[0].partition("-")
                    line["range"] = int(first), int(last) + 1
                if name.lower() == "content-length":
                    line["sent"] = int(value)
            # Before the client has any of it.
            log.write(json.dumps(line) + "\n")
            log.flush()
            return start(status, sent, *rest)

        return application(environ, started)

    return answer


def _run(folder: Path, ahead: float) -> None:
    import eventlet

    eventlet.monkey_patch()
    if ahead:
        real = time.time
        time.time = lambda: real() + ahead
    _serve(folder)


def _serve(folder: Path) -> None:
    import getpass
    import logging

    import eventlet
    from eventlet import hubs, wsgi
    from paste.deploy import loadapp
    from swift.common import storage_policy, utils
    from swift.common.ring import RingBuilder

    (folder / "devices" / "disk").mkdir(parents=True, exist_ok=True)
    (folder / "swift.conf").write_text(_SWIFT)
    utils.set_swift_dir(str(folder))
    storage_policy.reload_storage_policies()
    silent = logging.getLogger("silent")
    silent.disabled = True

    def listen(application: Application, host: str = "127.0.0.1", port: int = 0) -> int:
        socket = eventlet.listen((host, port), backlog=256)
        eventlet.spawn(
            wsgi.server, socket, application, log=silent, log_output=False, keepalive=True
        )
        taken: int = socket.getsockname()[1]
        return taken

    user = getpass.getuser()
    options = {
        "swift_dir": str(folder), "devices": str(folder / "devices"), "mount_check": "false",
        "log_level": "ERROR", "user": user,
    }  # fmt: skip
    for kind in ("account", "container", "object"):
        port = listen(loadapp(f"egg:swift#{kind}", global_conf=options))
        ring = RingBuilder(part_power=2, replicas=1, min_part_hours=0)
        at = {"ip": "127.0.0.1", "port": port}
        ring.add_dev({
            "id": 0, "region": 1, "zone": 1, "device": "disk", "weight": 1, **at,
            **{f"replication_{name}": value for name, value in at.items()},
        })  # fmt: skip
        ring.rebalance()
        ring.get_ring().save(str(folder / f"{kind}.ring.gz"))
    proxy = folder / "proxy.conf"
    proxy.write_text(_PROXY.format(folder=folder, user=user))
    log = (folder / "requests.log").open("w")
    service = _logged(loadapp(f"config:{proxy}"), log)
    port = listen(service)
    listen(service, _HOST, port)
    ports = {
        "port": port,
        "admin_port": listen(loadapp(f"config:{proxy}", name="admin")),
    }
    sys.stdout.write(json.dumps(ports) + "\n")
    sys.stdout.flush()
    # Whoever started this holds the other end: without it there is nothing to do any more.
    hubs.trampoline(sys.stdin, read=True)


if __name__ == "__main__":
    _run(Path(sys.argv[1]).resolve(), float(sys.argv[2]))
