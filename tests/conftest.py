"""Options of the whole suite."""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from hypothesis import HealthCheck, settings

from sidecar.cli.license import make_keys
from tests.support.machine import Machine
from tests.support.media import ROOT
from tests.support.read_once import begin_run

# Processes of the sidecar start hundreds of times, and compiling it takes as long as all else in
# that: what is compiled is kept, whatever this shell says.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# How long a machine takes says nothing of what is tested. Where nobody is there to look into a
# failure, all runs try the same examples.
settings.register_profile(
    "suite",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("suite")

# The processes share the work by files: what takes longest begins first. Three of the first want
# the machine alone for a while; the tests of those beside them are short, so that nobody waits for
# one of them then.
BEGIN_WITH = (
    "tests/e2e/test_live_playout.py",
    "tests/e2e/test_frames.py",
    "tests/e2e/test_gstreamer.py",
    "tests/sidecar/cli/test_stack.py",
    "tests/e2e/test_live_eras_players.py",
    "tests/e2e/test_live_kill.py",
    "tests/e2e/test_live_eras.py",
    "tests/e2e/test_live_window.py",
    "tests/e2e/test_players.py",
    "tests/e2e/test_text.py",
    "tests/e2e/test_smooth.py",
    "tests/e2e/test_hds_download.py",
    "tests/e2e/test_failures.py",
    "tests/e2e/test_remote_failures.py",
    "tests/sidecar/live/test_live_unchanging.py",
    "tests/e2e/test_remote_http.py",
    "tests/sidecar/formats/test_hls_transport.py",
    "tests/sidecar/service/test_supervisor.py",
    "tests/e2e/test_ingest_http.py",
    "tests/e2e/test_migrated.py",
    "tests/e2e/test_remote_s3.py",
    "tests/e2e/test_live_edge.py",
    "tests/e2e/test_download_players.py",
    "tests/e2e/",
    "tests/lua_e2e/",
    "tests/sidecar/formats/",
    "tests/fuzz/",
    "tests/contract/",
    "tests/deploy/",
    "tests/sidecar/service/",
    "tests/sidecar/live/",
    "tests/sidecar/media/",
)

MACHINE = pytest.StashKey[Machine]()
RUN = pytest.StashKey[tempfile.TemporaryDirectory[str]]()


def pytest_configure(config: pytest.Config) -> None:
    folder = ROOT / ".cache"
    folder.mkdir(exist_ok=True)
    config.stash[MACHINE] = Machine(folder)
    if not hasattr(config, "workerinput"):
        config.stash[RUN] = begin_run()


def pytest_unconfigure(config: pytest.Config) -> None:
    if RUN in config.stash:
        config.stash[RUN].cleanup()


# Around everything else, time limits above all: waiting is not what is limited.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Iterator[object | None]:
    with item.config.stash[MACHINE].shared():
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def turn(item: pytest.Item) -> int:
        found = (at for at, path in enumerate(BEGIN_WITH) if item.nodeid.startswith(path))
        return next(found, len(BEGIN_WITH))

    items.sort(key=turn)


@pytest.fixture(scope="session")
def alone(request: pytest.FixtureRequest) -> Callable[[], AbstractContextManager[None]]:
    """For what is watched as it is pushed, in real time: a block that has the machine for itself.

    Whoever waits for it needs a time limit twice as long: for himself, and for those that are
    waited for.
    """
    return request.config.stash[MACHINE].alone


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite tests/golden from what is made now"
    )


@pytest.fixture(scope="session", autouse=True)
def license_keys() -> None:
    """What "make setup" makes, so that instances stream; nothing where it is there."""
    lock_path = ROOT / ".cache" / "license.lock"
    lock_path.parent.mkdir(exist_ok=True)
    with lock_path.open("w") as lock:
        # The other process of the suite wants them too.
        fcntl.flock(lock, fcntl.LOCK_EX)
        make_keys(ROOT / "license")
