"""Language codes, tags and names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.media.languages import bcp47, english_name, is_language

ISO_639_2 = Path("/usr/share/iso-codes/json/iso_639-2.json")


@pytest.mark.parametrize(
    ("code", "tag", "name"),
    [
        ("eng", "en", "English"),
        ("en", "en", "English"),
        ("ENG", "en", "English"),
        ("deu", "de", "German"),
        ("ger", "de", "German"),
        ("fra", "fr", "French"),
        ("fre", "fr", "French"),
        ("zho", "zh", "Chinese"),
        ("chi", "zh", "Chinese"),
        ("nob", "nb", "Norwegian Bokmål"),
        ("zh-Hans", "zh-Hans", "Chinese (zh-Hans)"),
        ("zh-hans-cn", "zh-Hans-CN", "Chinese (zh-Hans-CN)"),
        ("por-br", "pt-BR", "Portuguese (pt-BR)"),
        ("es-419", "es-419", "Spanish (es-419)"),
        ("de-x-de", "de-x-de", "German (de-x-de)"),
        ("fil", "fil", "Filipino"),
        ("qaa", "qaa", None),
        ("not_a_tag", "not_a_tag", None),
    ],
)
def test_tags_and_names(code: str, tag: str, name: str | None) -> None:
    assert bcp47(code) == tag
    assert english_name(code) == name


@given(st.text(max_size=12) | st.from_regex(r"[a-zA-Z]{2,3}(-[a-zA-Z0-9]{1,8}){0,3}"))
def test_tags_are_stable(tag: str) -> None:
    assert bcp47(bcp47(tag)) == bcp47(tag)


@pytest.mark.parametrize("tag", ["eng", "zh-Hans", "x1", "en-US-x-twain"])
def test_forms(tag: str) -> None:
    assert is_language(tag) == (tag != "x1")


@pytest.mark.parametrize("tag", ["", "und", "UND", "e", "en_US", "en=1", "é", "en-", "a" * 9])
def test_what_names_no_language(tag: str) -> None:
    assert not is_language(tag)


@pytest.mark.skipif(not ISO_639_2.exists(), reason="iso-codes is not installed")
def test_every_code_agrees_with_the_registry() -> None:
    for language in json.loads(ISO_639_2.read_text())["639-2"]:
        if "alpha_2" in language and language["alpha_2"] != "bh":  # Bihari: deprecated
            assert bcp47(language["alpha_3"]) == language["alpha_2"]
            name = english_name(language["alpha_2"])
            assert name is not None
            assert set(name.split()) <= set(
                language["name"].replace(";", " ").replace(",", "").split()
            )
        if "bibliographic" in language:
            assert bcp47(language["bibliographic"]) == bcp47(language["alpha_3"])
