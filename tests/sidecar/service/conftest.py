"""The HTTP side of a sidecar process in this one."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.ingest import Process, serving


@pytest.fixture
def sockets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that may become the working directory, which is what it was afterwards."""
    before = Path.cwd()
    yield tmp_path_factory.mktemp("s")
    os.chdir(before)


@pytest.fixture
async def process(sockets: Path, tmp_path: Path) -> AsyncIterator[Process]:
    """It serves what is in ``tmp_path``."""
    async with serving(sockets, tmp_path) as process:
        yield process
