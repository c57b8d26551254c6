"""TTML documents, read: times, styles, places, and what is kept of paragraphs."""

from __future__ import annotations

import pytest

from sidecar.errors import InvalidMedia, UnsupportedMedia
from sidecar.media.text import ttml
from sidecar.media.text.cues import Cue
from sidecar.media.text.ttml import read_ttml

HEAD = """<head><styling>
<style xml:id="slanted" tts:fontStyle="italic"/>
<style xml:id="loud" style="slanted" tts:fontWeight="bold"/>
<style xml:id="ring" style="gnir"/><style xml:id="gnir" style="ring"/>
</styling><layout>
<region xml:id="up" tts:origin="10% 5%" tts:extent="80% 20%" tts:displayAlign="before"/>
<region xml:id="low" tts:textAlign="left"><style tts:origin="10% 70%" tts:extent="80% 20%"/>
<style tts:displayAlign="after"/></region>
</layout></head>"""


def document(body: str, *, root: str = "", head: str = HEAD) -> bytes:
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<tt xmlns="http://www.w3.org/ns/ttml" xmlns:tts="http://www.w3.org/ns/ttml#styling"
 xmlns:ttp="http://www.w3.org/ns/ttml#parameter" xml:lang="de" {root}>{head}{body}</tt>""".encode()


def cues(body: str, *, root: str = "") -> list[tuple[int, int, str]]:
    text = read_ttml(document(body, root=root))
    return [(cue.begin, cue.end, cue.payload) for cue in text.cues.items]


@pytest.mark.parametrize(
    ("time", "root", "milliseconds"),
    [
        ("00:00:02", "", 2000),
        ("00:00:02.5", "", 2500),
        ("01:01:01.0015", "", 3_661_002),
        ("100:00:00", "", 360_000_000),
        ("00:00:02:15", "", 2500),
        ("00:00:02:12", 'ttp:frameRate="25"', 2480),
        ("00:00:02:12.1", 'ttp:frameRate="25" ttp:subFrameRate="2"', 2500),
        ("48f", 'ttp:frameRate="24" ttp:frameRateMultiplier="1000 1001"', 2002),
        ("25000000t", 'ttp:tickRate="10000000"', 2500),
        ("50t", 'ttp:frameRate="25"', 2000),
        ("2t", "", 2000),
        ("2.5s", "", 2500),
        ("2500ms", "", 2500),
        ("0.5m", "", 30_000),
        ("1.5h", "", 5_400_000),
    ],
)
def test_time_expressions(time: str, root: str, milliseconds: int) -> None:
    body = f'<body><div><p begin="0s" end="{time}">x</p></div></body>'
    assert cues(body, root=root) == [(0, milliseconds, "x")]


@pytest.mark.parametrize(
    "time", ["", "2", "-1s", "00:00", "1e3s", "00:00:01;02", "99999h", "9" * 40]
)
def test_what_is_no_time_is_counted(time: str) -> None:
    text = read_ttml(
        document(f'<body><div><p begin="{time}" end="3s">x</p><p end="1s">y</p></div></body>')
    )
    assert [cue.payload for cue in text.cues.items] == ["y"]
    assert len(text.skipped) == 1
    assert text.skipped[0].endswith(": its times are not valid")


def test_times_are_those_of_all_ancestors() -> None:
    body = """<body begin="10s"><div begin="1s" end="20s">
      <p begin="1s" dur="2s">a</p><p begin="15s">until the div ends</p>
      <p begin="2s" end="90s" dur="3s">the shorter of both</p></div></body>"""
    assert cues(body) == [
        (12_000, 14_000, "a"),
        (13_000, 16_000, "the shorter of both"),
        (26_000, 30_000, "until the div ends"),
    ]


def test_sequences() -> None:
    body = """<body><div timeContainer="seq"><p dur="2s">a</p><p begin="1s" dur="2s">b</p>
      <p dur="1s">c</p></div></body>"""
    assert cues(body) == [(0, 2000, "a"), (3000, 5000, "b"), (5000, 6000, "c")]


def test_text_without_an_end() -> None:
    body = '<body><div><p begin="1s">a</p><p begin="3s" end="30s">b</p></div></body>'
    assert cues(body) == [(1000, 30_000, "a"), (3000, 30_000, "b")]
    assert cues('<body><div><p begin="1s">a</p></div></body>') == [(1000, 11_000, "a")]
    text = read_ttml(document('<body><div><p begin="1s">a</p></div></body>'), until=4000)
    assert [(cue.begin, cue.end) for cue in text.cues.items] == [(1000, 4000)]


def test_spans_with_times() -> None:
    body = """<body><div><p begin="10s" end="14s">a<span begin="1s">b</span><span begin="2s"
      end="3s">c</span></p></div></body>"""
    assert cues(body) == [
        (10_000, 11_000, "a"),
        (11_000, 12_000, "ab"),
        (12_000, 13_000, "abc"),
        (13_000, 14_000, "ab"),
    ]


def test_styles_and_line_breaks() -> None:
    body = """<body style="slanted"><div><p end="1s">a &amp; b<br/>
      <span tts:fontStyle="normal" tts:textDecoration="underline">c &lt; d</span></p>
      <p end="2s" style="ring loud" xml:space="preserve">  e
 f</p></div></body>"""
    assert [payload for *_, payload in cues(body)] == [
        "<i>a &amp; b</i>\n<u>c &lt; d</u>",
        "<b><i>e\nf</i></b>",
    ]


def test_a_chain_of_styles_has_an_end() -> None:
    styles = "".join(f'<style xml:id="s{at}" style="s{at + 1}"/>' for at in range(5000))
    head = f'<head><styling>{styles}<style xml:id="s5000" tts:color="red"/></styling></head>'
    body = '<body><div><p end="1s" style="s0">x</p></div></body>'
    assert read_ttml(document(body, head=head)).cues.items[0].payload == "x"


def test_regions_and_alignment() -> None:
    body = """<body region="low"><div><p region="up" end="1s">a</p><p end="2s">b</p>
      <p end="3s" tts:textAlign="right">c</p></div></body>"""
    text = read_ttml(document(body))
    assert [cue.settings for cue in text.cues.items] == ["line:5%", "align:left", "align:right"]


def test_what_is_kept_of_paragraphs() -> None:
    text = read_ttml(
        document(
            '<body style="slanted"><div region="up"><p begin="1s" end="2s" tts:color="red">a'
            '<br/><span begin="0.5s">b</span></p></div></body>',
            root='ttp:timeBase="smpte" ttp:dropMode="nonDrop" ttp:frameRate="25"',
        )
    )
    assert text.language == "de"
    assert text.ttml is not None
    (paragraph,) = text.ttml.paragraphs.items
    assert (paragraph.begin, paragraph.end, paragraph.name) == (1000, 2000, "p")
    assert paragraph.rest == (
        ' tts:color="red" style="slanted" region="up">a<br/><span begin="0.5s">b</span></p>'
    )
    assert 'ttp:timeBase="media"' in text.ttml.opening
    assert 'ttp:frameRate="25"' in text.ttml.opening
    assert "dropMode" not in text.ttml.opening
    assert text.ttml.head.startswith("<head><styling>")


def test_prefixes_and_old_namespaces() -> None:
    data = b"""<tt:tt xmlns:tt="http://www.w3.org/2006/10/ttaf1"
      xmlns:s="http://www.w3.org/2006/10/ttaf1#styling"><tt:body><tt:div>
      <tt:p begin="1s" end="2s" s:fontStyle="italic">x</tt:p></tt:div></tt:body></tt:tt>"""
    text = read_ttml(data)
    assert text.cues.items == (Cue(begin=1000, end=2000, payload="<i>x</i>"),)
    assert text.ttml is not None
    assert text.ttml.prefix == "tt:"
    assert text.ttml.paragraphs.items[0].name == "tt:p"


def test_utf_16() -> None:
    body = '<body><div><p end="1s">ü</p></div></body>'
    data = document(body).decode().replace("UTF-8", "UTF-16").encode("utf-16")
    assert read_ttml(data).cues.items[0].payload == "ü"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "line 1 "),
        (b"<tt>\n<body>", "line 2 "),
        (b"\n\n<html/>".lstrip(), "line 1 .*root element is not tt"),
        (b'<!DOCTYPE tt [<!ENTITY a "b">]><tt>&a;</tt>', "document type"),
        ('<!DOCTYPE tt [<!ENTITY a "b">]><tt>&a;</tt>'.encode("utf-16"), "document type"),
        (b"<tt>" + 300 * b"<div>" + 300 * b"</div>" + b"</tt>", "line 1 "),
    ],
    ids=["empty", "cut", "html", "entity", "entity in utf-16", "deep"],
)
def test_what_is_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(InvalidMedia, match=sentence):
        read_ttml(data)


def test_wall_clocks_are_not_supported() -> None:
    with pytest.raises(UnsupportedMedia, match="wall"):
        read_ttml(document("", root='ttp:timeBase="clock"'))


def test_small_files_do_not_become_large(monkeypatch: pytest.MonkeyPatch) -> None:
    paragraphs = 200 * '<p end="1s">x</p>'
    wide = document(f'<body tts:color="{10_000 * "x"}"><div>{paragraphs}</div></body>')
    assert len(read_ttml(wide).cues) == 200
    monkeypatch.setattr(ttml, "_MAX_KEPT", 1_000_000)
    with pytest.raises(UnsupportedMedia, match="characters of text"):
        read_ttml(wide)
    monkeypatch.setattr(ttml, "_MAX_WRITTEN", 900_000)
    with pytest.raises(UnsupportedMedia, match="attributes"):
        read_ttml(wide)


def test_a_paragraph_of_many_lines_takes_no_time() -> None:
    lines = 200_000 * "a<br/>"
    ((_, _, payload),) = cues(f'<body><div><p end="9s">{lines}</p></div></body>')
    assert payload.count("\n") == 199_999


def test_long_text_in_timed_spans_is_shown_as_a_whole() -> None:
    spans = "".join(f'<span begin="{at}s">{100_000 * "a"}</span>' for at in range(5))
    assert [one[:2] for one in cues(f'<body><div><p end="9s">{spans}</p></div></body>')] == [
        (0, 9000)
    ]


def test_a_paragraph_of_thousands_of_timed_spans_takes_no_time() -> None:
    spans = "".join(f'<span begin="{at}ms">a</span>' for at in range(3000))
    assert cues(f'<body><div><p end="9s">{spans}</p></div></body>') == [(0, 9000, 3000 * "a")]
