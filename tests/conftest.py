"""Options of the whole suite."""

from __future__ import annotations

import pytest

from sidecar.cli.license import make_keys
from tests.support.media import ROOT


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite tests/golden from what is made now"
    )


@pytest.fixture(scope="session", autouse=True)
def license_keys() -> None:
    """What "make setup" makes, so that instances stream; nothing where it is there."""
    make_keys(ROOT / "license")
