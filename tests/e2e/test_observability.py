"""What the running stack tells of itself is what docs/observability.md says, and no more."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.hls import read_master, read_media
from tests.support.http import Client
from tests.support.media import ROOT
from tests.support.prometheus import Scrape
from tests.support.stack import Stack, eventually

PAGE = (ROOT / "docs" / "observability.md").read_text()
RULES = ROOT / "deploy" / "prometheus"
ASSET = "/ladder.ism"
LINE = re.compile(
    r"(?P<client>\S+) \[(?P<time>[^\]]+)\] \"(?P<request>[^\"]*)\" (?P<status>\d{3}) "
    r"(?P<bytes>\d+) (?P<seconds>[\d.]+) (?P<id>[0-9a-f]{32}) (?P<result>\S+) (?P<plan>\S+) "
    r"(?P<parts>\S+) \"(?P<asset>[^\"]*)\" \"(?P<range>[^\"]*)\" \"(?P<agent>[^\"]*)\""
)


@pytest.fixture(scope="module")
def scrape(stack: Stack) -> Scrape:
    """The metrics once some of everything has been asked for."""
    client = stack.client()
    master = read_master(client.get(f"{ASSET}/.m3u8?hls_fmp4").text, f"{stack.base}{ASSET}/.m3u8")
    playlist = client.get(master.playlists[0])
    segment = read_media(playlist.text, master.playlists[0]).segments[0].url
    for _ in range(3):
        client.get(segment)
    client.request(f"{ASSET}/none.html")
    client.request("/none.html")
    found = Scrape(stack.admin)

    def counted() -> bool:
        nonlocal found
        found = Scrape(stack.admin)
        return found("origin_requests_total", kind="hls.segment", status="200") >= 3

    eventually(counted, "what the workers have counted")
    return found


def documented() -> dict[str, tuple[str, set[str]]]:
    """Type and labels of each metric in the page's table."""
    rows = re.findall(r"^\| `(origin_\w+)` \| (\w+) \|([^|]*)\|", PAGE, re.MULTILINE)
    assert len(rows) == len({name for name, _, _ in rows})
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def test_every_metric_is_in_the_page_and_the_other_way_round(scrape: Scrape) -> None:
    assert {name: kind for name, (kind, _) in documented().items()} == scrape.types
    for name, (kind, labels) in documented().items():
        sample, extra = (f"{name}_bucket", {"le"}) if kind == "histogram" else (name, set())
        assert scrape.label_names(sample) == {frozenset(labels | extra)}, name


def test_the_sidecar_counts_what_nginx_asks(scrape: Scrape) -> None:
    assert scrape.labels("origin_sidecar_up", "worker") == {"0", "1"}
    assert scrape("origin_sidecar_up") == 2
    asked = scrape("origin_calls_total", outcome="ok")
    assert scrape("origin_sidecar_calls_total") >= asked > 0
    kinds = scrape.labels("origin_sidecar_calls_total", "kind")
    assert {"hls.master", "hls.media_playlist", "hls.segment"} <= kinds
    assert kinds <= scrape.labels("origin_sidecar_call_duration_seconds_count", "kind")
    assert scrape("origin_requests_total", kind="other", status="404") >= 1
    assert scrape("origin_requests_total", kind="static", status="404") >= 1
    assert scrape("origin_plans_total", source="hit") >= 1
    assert scrape("origin_bodies_total", memory="hit") >= 1
    assert scrape("origin_sidecar_index_bytes") > 0


def test_ready_and_alive(stack: Stack) -> None:
    response = stack.admin.request("/readyz")
    assert (response.status, response.text) == (
        200,
        "ready\nsidecar 0: serves\nsidecar 1: serves\n",
    )
    assert stack.admin.request("/healthz").status == 200


def of_agent(stack: Stack, agent: str) -> dict[str, str]:
    """The line of the access log for the one request of ``agent``."""

    def logged() -> list[str]:
        return [line for line in stack.access_log().splitlines() if line.endswith(f'"{agent}"')]

    eventually(lambda: bool(logged()), "line of the access log")
    (line,) = logged()
    match = LINE.fullmatch(line)
    assert match, line
    return match.groupdict()


def test_a_line_of_the_access_log(stack: Stack, client: Client) -> None:
    url = f"{ASSET}/logged.mpd"
    for agent, plan in (("first", "sidecar"), ("second", "hit|shared")):
        answer = client.request(url, headers={"User-Agent": agent, "Range": "bytes=0-9"})
        fields = of_agent(stack, agent)
        assert re.fullmatch(plan, fields["plan"])
        assert fields["request"] == f"GET {url} HTTP/1.1"
        assert (fields["status"], fields["bytes"]) == ("206", str(len(answer.body)))
        assert (fields["result"], fields["parts"]) == ("FMP4_OK", "1")
        assert (fields["asset"], fields["range"]) == (ASSET, "bytes=0-9")


def test_the_page_shows_such_a_line() -> None:
    (shown,) = [line for line in PAGE.splitlines() if line.startswith("127.0.0.1 [")]
    assert LINE.fullmatch(shown)


def test_what_clients_send_stays_in_its_field(stack: Stack, client: Client) -> None:
    client.request("/a%22%20b%0Ac.ism/.mpd", headers={"User-Agent": "odd"})
    fields = of_agent(stack, "odd")
    assert fields["asset"] in ("-", r"/a\x22 b\x0Ac.ism")
    client.request("/a%22%20b.ism/.mpd", headers={"User-Agent": "quoted"})
    assert of_agent(stack, "quoted")["asset"] == r"/a\x22 b.ism"


def test_both_logs_have_the_request_id(stack: Stack, client: Client) -> None:
    client.request("/not-there.ism/.mpd", headers={"User-Agent": "traced"})
    fields = of_agent(stack, "traced")
    assert (fields["result"], fields["status"]) == ("FMP4_NOT_FOUND", "404")
    eventually(lambda: fields["id"] in stack.log(), "line of the sidecar")
    (line,) = [line for line in stack.log().splitlines() if fields["id"] in line]
    for said in ("refused", "/not-there.ism", "FMP4_NOT_FOUND", "milliseconds="):
        assert said in line


def test_rules_and_page_name_metrics_that_exist(scrape: Scrape) -> None:
    known = set(scrape.types)
    for suffix in ("_bucket", "_sum", "_count"):
        known |= {f"{name}{suffix}" for name, kind in scrape.types.items() if kind == "histogram"}
    for text in (PAGE, *(path.read_text() for path in RULES.iterdir())):
        named = set(re.findall(r"\borigin_\w+", text)) - {"origin_json", "origin_"}
        assert named <= known, named - known


def test_prometheus_reads_the_rules_and_the_output(scrape: Scrape, tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    for arguments in (("rules", RULES / "origin.rules.yml"), ("config", RULES / "prometheus.yml")):
        subprocess.run([promtool, "check", *arguments], check=True, timeout=60)
    subprocess.run(
        [promtool, "check", "metrics"], input=scrape.text, text=True, check=True, timeout=60
    )
