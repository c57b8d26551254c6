"""The same subtitles as WebVTT, SRT and TTML files, and a presentation that has them all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from tests.support.media import place

VIDEO = "bframes_closed.mp4"  # 10 s, GOPs of 2 s


@dataclass(frozen=True, slots=True, kw_only=True)
class Subtitle:
    """``lines``: plain; the first one is in italics where ``slanted``. Times are milliseconds."""

    begin: int
    end: int
    lines: tuple[str, ...]
    slanted: bool = False


# The second is shown across the boundary of HLS segments at 4 s; from 4.8 s to 8.2 s there is none.
SUBTITLES = (
    Subtitle(begin=500, end=1500, lines=("Größe & mehr",), slanted=True),
    Subtitle(begin=3200, end=4800, lines=("zwei", "zweite Zeile")),
    Subtitle(begin=8200, end=9000, lines=("drei",)),
)
# trackName -> file, language, role
TEXTS = {
    "textstream_eng": ("subs.vtt", "eng", None),
    "textstream_deu": ("subs.srt", "deu", "caption"),
    "textstream_fra": ("subs.ttml", "fra", "forced-subtitle"),
}


def _clock(milliseconds: int, separator: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{separator}{rest:03d}"


def _lines(one: Subtitle, opening: str, closing: str) -> list[str]:
    lines = [escape(line) for line in one.lines]
    if one.slanted:
        lines[0] = f"{opening}{lines[0]}{closing}"
    return lines


def webvtt() -> bytes:
    blocks = ["WEBVTT", "STYLE\n::cue(i) { color: yellow }"]
    for one in SUBTITLES:
        times = f"{_clock(one.begin, '.')} --> {_clock(one.end, '.')}"
        blocks.append("\n".join([times, *_lines(one, "<i>", "</i>")]))
    return ("\n\n".join(blocks) + "\n").encode()


def srt() -> bytes:
    blocks = []
    for number, one in enumerate(SUBTITLES, 1):
        lines = list(one.lines)
        if one.slanted:
            lines[0] = f"<i>{lines[0]}</i>"
        times = f"{_clock(one.begin, ',')} --> {_clock(one.end, ',')}"
        blocks.append("\r\n".join([str(number), times, *lines, ""]))
    return "\r\n".join(blocks).encode("cp1252")


def ttml() -> bytes:
    paragraphs = [
        f'<p begin="{one.begin}ms" end="{one.end}ms">'
        + "<br/>".join(_lines(one, '<span tts:fontStyle="italic">', "</span>"))
        + "</p>"
        for one in SUBTITLES
    ]
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<tt xmlns="http://www.w3.org/ns/ttml" xmlns:tts="http://www.w3.org/ns/ttml#styling"'
        ' xml:lang="fr">\n<head><layout><region xml:id="low" tts:origin="10% 80%"'
        ' tts:extent="80% 15%" tts:displayAlign="after"/></layout></head>\n'
        f'<body region="low"><div>\n{"".join(paragraphs)}\n</div></body></tt>\n'
    ).encode()


def place_texts(root: Path, name: str = "texts.ism", *, only: str | None = None) -> None:
    """Puts the presentation ``name`` into ``root``, with all of ``TEXTS`` or ``only`` that one."""
    place(root, VIDEO)
    for file, data in (("subs.vtt", webvtt()), ("subs.srt", srt()), ("subs.ttml", ttml())):
        (root / file).write_bytes(data)
    entries = []
    for track, (file, language, role) in TEXTS.items():
        if only in (None, track):
            param = f'<param name="role" value="{role}"/>' if role else ""
            entries.append(
                f'<textstream src="{file}" systemBitrate="1000" systemLanguage="{language}">'
                f"{param}</textstream>"
            )
    (root / name).write_text(
        '<smil xmlns="http://www.w3.org/2001/SMIL20/Language"><head/><body><switch>\n'
        f'<audio src="{VIDEO}" systemBitrate="64000"/>\n{"".join(entries)}\n'
        f'<video src="{VIDEO}" systemBitrate="200000"/></switch></body></smil>\n'
    )
