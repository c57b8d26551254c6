"""``python -m sidecar.service.worker``: one sidecar process, started by the supervisor only."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sidecar.service.server import WorkerSettings, run_worker

if __name__ == "__main__":
    fields = json.loads(sys.argv[1])
    spool = fields.pop("spool")
    run_worker(
        WorkerSettings(
            socket=Path(fields.pop("socket")),
            issuers=tuple(map(Path, fields.pop("issuers"))),
            spool=Path(spool) if spool else None,
            parent=0,
            **fields,
        )
    )
