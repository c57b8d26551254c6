"""TLS for a server under test."""

from __future__ import annotations

import subprocess
from pathlib import Path


def listen(folder: Path, port: int) -> str:
    """Lines for a server block: HTTP/2 over TLS on ``port``, with a certificate that is made in
    ``folder``."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
            *("ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-keyout", "key.pem", "-out", "cert.pem"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return (
        f"listen 127.0.0.1:{port} ssl http2;\n"
        f"ssl_certificate {folder}/cert.pem;\nssl_certificate_key {folder}/key.pem;\n"
    )
