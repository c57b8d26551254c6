"""Options of the whole suite."""

from __future__ import annotations

import fcntl
import os

import pytest
from hypothesis import HealthCheck, settings

from sidecar.cli.license import make_keys
from tests.support.media import ROOT

# How long a machine takes says nothing of what is tested. Where nobody is there to look into a
# failure, all runs try the same examples.
settings.register_profile(
    "suite",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("suite")

# Two processes share the work by files: what takes longest begins first, and files that wait for
# browsers take turns with others.
BEGIN_WITH = (
    "tests/e2e/test_players.py",
    "tests/e2e/test_live_playout.py",
    "tests/e2e/test_live_eras_players.py",
    "tests/e2e/test_live_kill.py",
    "tests/e2e/test_frames.py",
    "tests/e2e/test_text.py",
    "tests/e2e/test_failures.py",
    "tests/e2e/test_remote_failures.py",
    "tests/e2e/test_remote_s3.py",
    "tests/e2e/test_remote_http.py",
    "tests/e2e/test_smooth.py",
    "tests/sidecar/cli/test_stack.py",
    "tests/e2e/test_download_players.py",
    "tests/sidecar/service/test_supervisor.py",
    "tests/e2e/test_gstreamer.py",
    "tests/e2e/test_clips.py",
    "tests/sidecar/formats/test_hls_transport.py",
    "tests/e2e/",
    "tests/lua_e2e/",
    "tests/sidecar/formats/",
    "tests/fuzz/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def turn(item: pytest.Item) -> int:
        found = (at for at, path in enumerate(BEGIN_WITH) if item.nodeid.startswith(path))
        return next(found, len(BEGIN_WITH))

    items.sort(key=turn)


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
