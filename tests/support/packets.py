"""What ffprobe says of a file's packets: the second opinion on sample indexes."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Packet:
    """``pts``, ``dts``: seconds, edit list applied. ``position``: byte offset."""

    pts: Fraction
    dts: Fraction
    position: int
    size: int
    key: bool
    discard: bool


def probe_packets(path: Path) -> dict[int, list[Packet]]:
    """The packets of each stream by track_ID, in the order in which they are decoded."""
    entries = "packet=stream_index,pts,dts,size,pos,flags:stream=index,id,time_base"
    command = ["ffprobe", "-v", "error", "-print_format", "json", "-show_packets"]
    out = subprocess.run(
        [*command, "-show_entries", entries, str(path)], capture_output=True, check=True
    )
    document = json.loads(out.stdout)
    streams = {stream["index"]: stream for stream in document["streams"]}
    found: dict[int, list[Packet]] = {
        int(stream["id"], 16): [] for stream in streams.values() if "id" in stream
    }
    for packet in document["packets"]:
        stream = streams[packet["stream_index"]]
        base = Fraction(*map(int, stream["time_base"].split("/")))
        found[int(stream["id"], 16)].append(
            Packet(
                pts=int(packet["pts"]) * base,
                dts=int(packet["dts"]) * base,
                position=int(packet["pos"]),
                size=int(packet["size"]),
                key="K" in packet["flags"],
                discard="D" in packet["flags"],
            )
        )
    return found
