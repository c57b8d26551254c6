"""One real stack for the whole session."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import assets, remote_world
from tests.support.http import Client
from tests.support.stack import Stack, start


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack with two sidecar workers over all assets."""
    missing = [tool for tool in ("ffmpeg", "ffprobe") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    media = tmp_path_factory.mktemp("media")
    assets.library(media)
    running = start(tmp_path_factory.mktemp("run"), media)
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    """A connection to the stack."""
    opened = stack.client()
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def remote_films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What storages hold in the tests of remote content: to be copied."""
    folder = tmp_path_factory.mktemp("remote_films")
    remote_world.fill(folder)
    return folder
