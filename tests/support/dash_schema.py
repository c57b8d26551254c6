"""The MPEG DASH schema, when this machine has it."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest
from lxml import etree

FOLDER = Path(
    os.environ.get("DASH_XSD")
    or Path(__file__).resolve().parents[2].parent / "shared" / "data" / "dash-schema"
)


class _Beside(etree.Resolver):
    """Takes imported schemas from the same folder, never from the network."""

    def resolve(self, url: str, public_id: str | None, context: object) -> object:  # type: ignore[override]
        return self.resolve_filename(str(FOLDER / url.rpartition("/")[2]), context)  # type: ignore[arg-type]


@cache
def _load() -> etree.XMLSchema | None:
    path = FOLDER / "DASH-MPD.xsd"
    if not path.exists():
        return None
    parser = etree.XMLParser(no_network=True)
    parser.resolvers.add(_Beside())
    return etree.XMLSchema(etree.parse(path, parser))


def dash_schema() -> etree.XMLSchema:
    """The schema; skips the calling test, loudly, where there is none."""
    schema = _load()
    if schema is None:
        pytest.skip(f"NO MPEG DASH SCHEMA in {FOLDER}: MPDs were not validated (set DASH_XSD)")
    return schema
