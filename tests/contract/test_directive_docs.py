"""docs/directives.md is that of the directives that there are."""

from __future__ import annotations

import re

import pytest

from tests.support.directive_docs import PAGE, page, rows


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "run: make docs"


@pytest.mark.parametrize("row", rows(), ids=lambda row: str(row["name"]))
def test_every_directive_has_its_section(row: dict[str, object]) -> None:
    text = PAGE.read_text()
    (section,) = re.findall(rf"^## {row['name']}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    section = " ".join(section.split())
    for part in ("- Syntax: ", "- Default: ", "- Context: ", str(row["example"])):
        assert part in section
