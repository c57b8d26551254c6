"""yt-dlp's own downloader for Smooth Streaming: a reader that nobody here wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yt_dlp import YoutubeDL


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """``file``: all ``fragments`` of one format behind a header that yt-dlp made. ``format``: what
    it knows of it, in its own terms."""

    file: Path
    fragments: int
    format: dict[str, Any]


class _Silence:
    """What yt-dlp says; raises at errors itself."""

    def debug(self, message: str) -> None:
        pass

    info = warning = debug

    def error(self, message: str) -> None:
        raise AssertionError(message)


def download(url: str, folder: Path) -> list[Download]:
    """Every format of the Smooth manifest ``url``, into ``folder``.

    Raises ``AssertionError`` when yt-dlp cannot, or when a fragment is missing.
    """
    options = {
        "format": "all",
        "outtmpl": str(folder / "%(format_id)s.mp4"),
        "skip_unavailable_fragments": False,
        "retries": 0,
        "fragment_retries": 0,
        "cachedir": False,
        "proxy": "",
        "noprogress": True,
        "fixup": "never",
        "logger": _Silence(),
    }
    with YoutubeDL(options) as downloader:
        info = downloader.extract_info(url)
    found = []
    for one in info["requested_downloads"]:
        assert one["protocol"] == "ism", one["protocol"]
        found.append(
            Download(file=Path(one["filepath"]), fragments=len(one["fragments"]), format=one)
        )
    assert len(found) == len(info["formats"])
    return found
