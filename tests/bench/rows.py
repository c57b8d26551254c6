"""The rows of the bench: each measures one thing and says whether its bar is met."""

from __future__ import annotations

import itertools
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import channels
import day
import planning
from answers import (
    Client,
    Site,
    Wrong,
    check_flv,
    check_packets,
    check_same,
    check_smooth,
    check_ts,
    discover,
    fragments,
    save,
    smooth_fragments,
    transport_streams,
)
from assets import CLIP_SECONDS, COLD_COPIES, LADDER, SPARSE_COPIES, Assets
from instance import Instance, resident
from load import Load, compare, hammer, process_seconds, walk
from report import Line, compared

from sidecar.media.track import Kind

CONNECTIONS = (1, 16)
SEGMENT_SECONDS = 4
_DOWNLOADS = 15
MEGABYTE = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What every row needs. ``seconds``: of one wrk run; ``repeats``: pairs of runs of a row."""

    assets: Assets
    instance: Instance
    seconds: float
    repeats: int
    restarts: int
    flat_requests: int
    scratch: Path

    def client(self) -> Client:
        return Client(self.instance.port)

    def paths(self, name: str, paths: Sequence[str]) -> Path:
        """A list for wrk's script."""
        file = self.scratch / f"{name}.list"
        file.write_text("".join(f"{path}\n" for path in paths))
        return file


Row = Callable[[Bench], Iterator[Line]]


def noise(bench: Bench) -> Iterator[Line]:
    """Static against itself: how far from 1.00 a ratio of this run may lie by chance."""
    folder = bench.instance.static / "noise"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "file").write_bytes(random.Random(1).randbytes(1_260_000))
    url = f"{bench.instance.static_url}/noise/file"
    for connections in CONNECTIONS:
        run = _hammer(bench, url, connections)
        result = compare(run, run, repeats=bench.repeats)
        yield compared("static against itself, 1.26 MB", connections, result, None)


def hot(bench: Bench) -> Iterator[Line]:
    """One URL again and again, its plan in the cache."""
    client = bench.client()
    one, three = discover(client, "/one.ism"), discover(client, "/three.ism")
    middle = len(one.video) // 2
    targets = (
        ("CMAF video segment, hot", one.video[middle], 0.90),
        ("CMAF audio segment, hot", one.audio[middle], 0.50),
        ("master playlist, hot", three.master, 0.60),
        ("media playlist, hot", one.video_playlist, 0.60),
        ("MPD, one file, hot", one.mpd, 0.60),
        ("MPD, three renditions, hot", three.mpd, 0.60),
    )
    files = save(client, tuple(path for _, path, _ in targets), bench.instance.static / "hot")
    for (what, path, bar), file in zip(targets, files, strict=True):
        ours = bench.instance.url + path
        static = f"{bench.instance.static_url}/hot/{file.name}"
        for connections in CONNECTIONS:
            result = compare(
                _hammer(bench, ours, connections),
                _hammer(bench, static, connections),
                repeats=bench.repeats,
            )
            size = file.stat().st_size
            yield compared(f"{what}, {_bytes(size)}", connections, result, bar)
    check_same(client, tuple(path for _, path, _ in targets), files)
    client.close()


def cold(bench: Bench) -> Iterator[Line]:
    """Every segment once, in order, under names whose plans nobody has asked for.

    The playlist is fetched first, as a player does, so the media index is in the sidecar.
    """
    client = bench.client()
    for kind, bar, parts in (("video", 0.70, 4), ("audio", 0.25, 2)):

        def segments(name: str, kind: str = kind) -> Sequence[str]:
            return discover(client, name).segments(kind)

        _check_media(bench, client, discover(client, "/one.ism"), kind)
        yield from _cold(bench, f"CMAF {kind} segment", kind, segments, bar, parts)
    client.close()


def hds(bench: Bench) -> Iterator[Line]:
    """HDS fragments, muxed, hot and cold: a header for each sample, the samples from the file."""
    client = bench.client()
    paths = fragments(client, "/one.ism")
    check_flv(client, paths[len(paths) // 2])
    (file,) = save(client, paths[len(paths) // 2 :][:1], bench.instance.static / "hds-hot")
    for connections in CONNECTIONS:
        result = compare(
            _hammer(bench, bench.instance.url + paths[len(paths) // 2], connections),
            _hammer(bench, f"{bench.instance.static_url}/hds-hot/{file.name}", connections),
            repeats=bench.repeats,
        )
        yield compared(
            f"HDS fragment, hot, {_bytes(file.stat().st_size)}", connections, result, 0.85
        )
    yield from _cold(
        bench, "HDS fragment", "hds", lambda name: fragments(client, name), bar=0.35, parts=4
    )
    client.close()


def smooth(bench: Bench) -> Iterator[Line]:
    """Smooth fragments of video, hot and cold: two seconds, half of a CMAF segment."""
    client = bench.client()
    paths = smooth_fragments(client, "/one.ism")
    check_smooth(client, paths, discover(client, "/one.ism").video)
    middle = len(paths) // 2
    (file,) = save(client, [paths[middle]], bench.instance.static / "smooth-hot")
    for connections in CONNECTIONS:
        result = compare(
            _hammer(bench, bench.instance.url + paths[middle], connections),
            _hammer(bench, f"{bench.instance.static_url}/smooth-hot/{file.name}", connections),
            repeats=bench.repeats,
        )
        what = f"Smooth fragment, hot, {_bytes(file.stat().st_size)}"
        yield compared(what, connections, result, 0.85)

    def first_half(name: str) -> Sequence[str]:
        return smooth_fragments(client, name)[: len(paths) // 2]

    yield from _cold(bench, "Smooth fragment", "smooth", first_half, bar=0.35, parts=2)
    client.close()


def ranges(bench: Bench) -> Iterator[Line]:
    """A megabyte out of the middle of downloads of two hours: made, and the stored file."""
    client = bench.client()
    stored = bench.assets.long(LADDER[0])
    begin = stored.stat().st_size // 2
    wanted = f"bytes={begin}-{begin + 999_999}"
    folder = bench.instance.static / "ranges"
    folder.mkdir(exist_ok=True)
    if not (folder / stored.name).exists():
        (folder / stored.name).symlink_to(stored)
    if client.get(f"/{stored.name}", wanted) != _part(stored, begin, 1_000_000):
        raise Wrong(f"/{stored.name}: not the bytes of the file")
    for what, path, bar in (
        ("1 MB of a progressive download, hot", "/one.ism/one.mp4", 0.85),
        ("1 MB of a stored file, hot", f"/{stored.name}", 0.85),
        # Its samples lie apart from each other in the source.
        ("1 MB of a fragmented download, hot", "/one.ism/one.ismv", None),
    ):
        client.get(path, wanted)
        for connections in CONNECTIONS:
            result = compare(
                _hammer(bench, bench.instance.url + path, connections, f"Range: {wanted}"),
                _hammer(
                    bench,
                    f"{bench.instance.static_url}/ranges/{stored.name}",
                    connections,
                    f"Range: {wanted}",
                ),
                repeats=bench.repeats,
            )
            yield compared(what, connections, result, bar)
    client.close()


def transport(bench: Bench) -> Iterator[Line]:
    """Transport streams, sound and picture, rewritten in the sidecar: hot, cold and what one costs.

    A third of the asset, or the static files alone would be as large as the asset.
    """
    client = bench.client()

    def segments(name: str) -> Sequence[str]:
        paths = transport_streams(client, name)
        return paths[: len(paths) // 3]

    paths = segments("/one.ism")
    middle = len(paths) // 2
    in_clip = middle % (CLIP_SECONDS // SEGMENT_SECONDS)
    check_ts(client, paths[middle], bench.assets.clip(LADDER[0]), 100 * in_clip, 100)
    (file,) = save(client, [paths[middle]], bench.instance.static / "ts-hot")
    for connections in CONNECTIONS:
        result = compare(
            _hammer(bench, bench.instance.url + paths[middle], connections),
            _hammer(bench, f"{bench.instance.static_url}/ts-hot/{file.name}", connections),
            repeats=bench.repeats,
        )
        what = f"TS segment, hot, {_bytes(file.stat().st_size)}"
        yield compared(what, connections, result, 0.85)
    yield from _cold(bench, "TS segment", "ts", segments, bar=0.35, parts=2)
    fresh = transport_streams(client, f"/cold{COLD_COPIES - 1}.ism")
    for turn, connections in enumerate(CONNECTIONS):
        # Nothing of it has been made: a third of the asset for each.
        part = fresh[turn * len(fresh) // 3 : (turn + 1) * len(fresh) // 3]
        listed = bench.paths(f"ts-cost-{connections}", part)
        before = process_seconds(bench.instance.sidecars)
        load = walk(
            bench.instance.url, listed, connections=connections, worker=bench.instance.worker
        )
        spent = (process_seconds(bench.instance.sidecars) - before) / load.requests * 1000
        yield Line(
            what="sidecar CPU for one TS segment, all told",
            connections=str(connections),
            ours=f"{spent:.2f} ms",
            bar="≤ 2 ms",
            passed=spent <= 2,
        )
    client.close()


def _cold(
    bench: Bench,
    what: str,
    kind: str,
    segments: Callable[[str], Sequence[str]],
    bar: float,
    parts: int,
) -> Iterator[Line]:
    """``segments``: the paths of a presentation's segments. ``parts``: a walk along the asset is
    cut into so many runs, static's turn after each. ``kind``: the folder of the static files."""
    client = bench.client()
    files = save(client, segments("/one.ism"), bench.instance.static / kind)
    size = sum(file.stat().st_size for file in files) // len(files)
    names = [f"/cold{index}.ism" for index in range(COLD_COPIES)]
    sites = (segments(name) for name in names)
    cuts = [len(files) * part // parts for part in range(parts + 1)]

    def lists(label: str, paths: Sequence[str]) -> list[Path]:
        return [
            bench.paths(f"{label}-{first}", paths[first:last])
            for first, last in itertools.pairwise(cuts)
        ]

    static_lists = itertools.cycle(lists(kind, [f"/{kind}/{file.name}" for file in files]))
    fresh_lists = (part for site in sites for part in lists(f"{kind}-cold", site))
    for connections in CONNECTIONS:
        result = compare(
            lambda connections=connections: walk(
                bench.instance.url,
                next(fresh_lists),
                connections=connections,
                worker=bench.instance.worker,
            ),
            lambda connections=connections: walk(
                bench.instance.static_url,
                next(static_lists),
                connections=connections,
                worker=bench.instance.worker,
            ),
            repeats=bench.repeats,
        )
        yield compared(f"{what}, cold sequential, {_bytes(size)}", connections, result, bar)
    # What was planned under load, and what is planned now, are the bytes of the first time.
    for name in (names[0], names[-1]):
        answered = segments(name)
        sample = random.Random(2).sample(range(len(files)), 40)
        check_same(client, [answered[at] for at in sample], [files[at] for at in sample])
    client.close()


def made_anew(bench: Bench) -> Iterator[Line]:
    """MPDs that no cache holds: an option in the query that no request had before; and, one after
    the other, the server manifest touched before each request."""
    for name, what in (("one", "MPD made anew, one file"), ("three", "MPD made anew, three")):
        for connections in CONNECTIONS:
            # wrk counts from 1 in every run: the denominators keep the queries of runs apart.
            query = f"/{name}.ism/.mpd?mpd_min_buffer_time=%d/{1009 * connections}"
            load = hammer(
                bench.instance.url,
                connections=connections,
                seconds=4 * bench.seconds,
                worker=bench.instance.worker,
                paths=bench.paths("anew", [query]),
            )
            yield _rate(what, connections, load, 100)
        client = bench.client()
        manifest = bench.assets.media / f"{name}.ism"
        manifest_url = f"/{name}.ism/.mpd"
        count, started = 0, time.perf_counter()
        while time.perf_counter() - started < bench.seconds:
            manifest.touch()
            client.get(manifest_url)
            count += 1
        rate = count / (time.perf_counter() - started)
        client.close()
        yield Line(what=f"{what}, .ism touched each time", connections="1", ours=f"{rate:.0f}/s")


def first_request(bench: Bench) -> Iterator[Line]:
    """The first manifest request after a start; moov in the page cache, nothing indexed."""
    instance = bench.instance
    for rung in LADDER:
        with bench.assets.first(rung).open("rb") as media:
            media.read(16 << 20)
    for what, path, bar in (
        ("first MPD after a start, one file", "/first/one.ism/.mpd", 50),
        ("first MPD after a start, three renditions", "/first/three.ism/.mpd", 120),
        ("first master playlist after a start, one file", "/first/one.ism/.m3u8?hls_fmp4", 50),
        ("first master playlist after a start, three", "/first/three.ism/.m3u8?hls_fmp4", 120),
    ):
        milliseconds = []
        for _ in range(bench.restarts):
            instance.stop()
            instance.start()
            client = bench.client()
            milliseconds.append(client.timed(path) * 1000)
            client.close()
        middle = statistics.median(milliseconds)
        yield Line(
            what=what,
            connections="1",
            ours=f"{middle:.1f} ms",
            bar=f"≤ {bar} ms",
            passed=middle <= bar,
        )


def download_start(bench: Bench) -> Iterator[Line]:
    """To the first byte of downloads of two hours, indexed before; each ends elsewhere, so that
    every one is planned."""
    client = bench.client()
    client.get("/one.ism/.mpd")
    for what, path in (
        ("progressive download, first byte", "/one.ism/one.mp4?vend={}"),
        ("progressive download of the sound, first byte", "/one.ism/one.m4a?vend={}"),
        ("fragmented download, first byte", "/one.ism/one.ismv?vend={}"),
        ("fragmented download of the sound, first byte", "/one.ism/one.isma?vend={}"),
    ):
        paths = [path.format(7000 - 4 * run) for run in range(_DOWNLOADS)]
        milliseconds = [client.first_byte(path) * 1000 for path in paths]
        middle = statistics.median(milliseconds)
        progressive = what.startswith("progressive")
        yield Line(
            what=what,
            connections="1",
            ours=f"{middle:.1f} ms",
            bar="≤ 50 ms" if progressive else "",
            passed=middle <= 50 if progressive else None,
        )
    client.close()


def planning_cost(bench: Bench) -> Iterator[Line]:
    """In the sidecar, without gRPC."""
    for kind in (Kind.VIDEO, Kind.AUDIO):
        long, short = planning.microseconds(
            [bench.assets.long(LADDER[0]), bench.assets.short], kind
        )
        yield Line(
            what=f"planning one {kind} segment, 2 h against 2 min",
            connections="",
            ours=f"{long:.1f} µs",
            static=f"{short:.1f} µs (2 min)",
            ratio=f"{long / short:.2f}",
            bar="≤ 1.10",
            passed=long / short <= 1.10,
        )


def sidecar_memory(bench: Bench) -> Iterator[Line]:
    """After 50 two-hour assets, each with manifests and segments asked for."""
    bench.instance.stop()
    bench.instance.start()
    client = bench.client()
    for index in range(SPARSE_COPIES):
        site = discover(client, f"/many/asset{index:02d}.mp4")
        for path in (site.mpd, site.video_init, site.audio_init):
            client.get(path)
        for segments in (site.video, site.audio):
            client.get(segments[0])
            client.get(segments[len(segments) // 2])
    client.close()
    sizes = [resident(pid)[0] for pid in bench.instance.sidecars]
    total = sum(sizes) / MEGABYTE
    yield Line(
        what=f"sidecar RSS after {SPARSE_COPIES} two-hour assets, {len(sizes)} processes",
        connections="1",
        ours=f"{total:.0f} MB",
        bar="≤ 400 MB",
        passed=total <= 400,
    )


def worker_memory(bench: Bench) -> Iterator[Line]:
    """nginx's worker, before and after many requests of every kind, memory of its own only.

    Pages of the shared dict count as they are first touched, so they are left out. The first
    third more fills the caches."""
    bench.instance.stop()
    bench.instance.start()
    client = bench.client()
    one = discover(client, "/one.ism")
    client.close()
    paths = [*one.audio, *one.video[::20], one.master, one.mpd, one.video_playlist, one.video_init]
    random.Random(3).shuffle(paths)
    listed = bench.paths("mixed", paths)

    def requests(least: int) -> int:
        done = 0
        while done < least:
            done += hammer(
                bench.instance.url,
                connections=16,
                seconds=2,
                worker=bench.instance.worker,
                paths=listed,
            ).requests
        return done

    requests(bench.flat_requests // 3)
    before = resident(bench.instance.worker)[1] / MEGABYTE
    done = requests(bench.flat_requests)
    everything, own = (size / MEGABYTE for size in resident(bench.instance.worker))
    yield Line(
        what=f"nginx worker memory over {done} requests ({everything:.0f} MB RSS with shared)",
        connections="16",
        ours=f"{before:.1f} → {own:.1f} MB",
        bar="≤ +2 MB",
        passed=own - before <= 2,
    )


def live(bench: Bench) -> Iterator[Line]:
    """Live: twenty encoders and two hundred players, on a stack of their own."""
    yield from channels.lines(channels.Scale(seconds=5 * bench.repeats))


def day_of_live(bench: Bench) -> Iterator[Line]:
    """Live: a day of a channel, with the clock as an argument."""
    yield from day.lines(day.Scale(length=7200 * bench.repeats))


ROWS: dict[str, Row] = {
    "noise": noise,
    "hot": hot,
    "cold": cold,
    "ts": transport,
    "hds": hds,
    "smooth": smooth,
    "anew": made_anew,
    "flat": worker_memory,
    "planning": planning_cost,
    "first": first_request,
    "download": download_start,
    "ranges": ranges,
    "rss": sidecar_memory,
    "live": live,
    "day": day_of_live,
}


def _check_media(bench: Bench, client: Client, site: Site, kind: str) -> None:
    """The first segment, and for video one from the middle, hold the packets of the source."""
    clip = bench.assets.clip(LADDER[0])
    if kind == "audio":
        check_packets(client, site.audio_init, site.audio[0], clip, 0)
        return
    for number in (0, len(site.video) // 2):
        in_clip = number % (CLIP_SECONDS // SEGMENT_SECONDS)
        check_packets(client, site.video_init, site.video[number], clip, 100 * in_clip)


def _hammer(bench: Bench, url: str, connections: int, *headers: str) -> Callable[[], Load]:
    return lambda: hammer(
        url,
        connections=connections,
        seconds=bench.seconds,
        worker=bench.instance.worker,
        headers=headers,
    )


def _part(file: Path, begin: int, length: int) -> bytes:
    with file.open("rb") as opened:
        opened.seek(begin)
        return opened.read(length)


def _rate(what: str, connections: int, load: Load, bar: float) -> Line:
    return Line(
        what=what,
        connections=str(connections),
        ours=f"{load.rate:.0f}/s",
        bandwidth=f"{load.bandwidth / MEGABYTE:.0f}",
        bar=f"≥ {bar:.0f}/s",
        passed=load.rate >= bar,
        processor=f"{load.cpu:.0f} / ",
        late=f"{load.p99:.1f} / ",
    )


def _bytes(size: int) -> str:
    return f"{size / 1e6:.2f} MB" if size >= 1e6 else f"{size / 1e3:.1f} KB"
