"""The certificate authorities that nginx trusts when it fetches from other servers."""

from __future__ import annotations

import ssl
from importlib.resources import files
from pathlib import Path

# Debian, Fedora, SUSE, Alpine.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def authorities() -> Path:
    """A file of them in PEM: ``SSL_CERT_FILE`` or this machine's, else those that gRPC has."""
    found = ssl.get_default_verify_paths().cafile
    for path in (found, *_BUNDLES):
        if path and Path(path).is_file():
            return Path(path).absolute()
    return Path(str(files("grpc") / "_cython" / "_credentials" / "roots.pem"))


def trust(link: Path) -> None:
    """Makes ``link`` lead to ``authorities()``; a file in its place is the administrator's own."""
    if link.is_symlink():
        link.unlink()
    if not link.exists():
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(authorities())
