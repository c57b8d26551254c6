"""origin license: issuing, showing and verifying keys; what prepare makes, and never replaces."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from sidecar.cli.instance import PROJECT, Instance
from sidecar.cli.license import make_keys
from sidecar.cli.main import main
from sidecar.cli.nginx import Nginx
from sidecar.license.signing import new_issuer, read_issuer
from sidecar.license.text import read_key
from tests.support.license import DAY, issued, issuer

Run = Callable[..., Result]
NGINX = Nginx(binary="/usr/sbin/nginx", modules=())


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``origin license`` in a folder with license/ of the tests' issuer, and without a key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UspLicenseKey", raising=False)
    Path("license").mkdir()
    Path("license/issuer.key").write_bytes(issuer().private_pem)
    Path("license/issuer.pub").write_bytes(issuer().public_pem)

    def call(*arguments: str, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(main, ["license", *arguments], input=stdin)

    return call


def test_a_key_from_its_making_to_its_use(run: Run) -> None:
    made = run(
        *("issue", "--holder", "Süd GmbH", "--feature", "vod", "--feature", "live"),
        *("--days", "30", "-o", "license/license.key"),
    )
    assert (made.exit_code, made.output) == (0, "")
    text = Path("license/license.key").read_text()
    license = read_key(text).license
    assert (license.holder, license.features) == ("Süd GmbH", {"vod", "live"})
    assert license.expires - license.not_before == 30 * DAY
    shown = run("show")
    assert shown.exit_code == 0
    assert all(line in text for line in shown.output.splitlines())
    verified = run("verify", "--feature", "live")
    assert verified.exit_code == 0, verified.output
    assert verified.output == f"{shown.output}valid, for 29 more days\n"


def test_a_key_on_standard_output_with_everything(run: Run) -> None:
    made = run(
        *("issue", "--holder", "x", "--not-before", "2026-01-01"),
        *("--expires", "2036-01-01T12:00:00Z", "--issuer-key", "license/issuer.key"),
    )
    assert made.exit_code == 0
    license = read_key(made.output).license
    assert license.features == {"vod", "live", "drm"}
    assert "Expires:    2036-01-01T12:00:00Z" in made.output


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--holder", "x"], 2, "one of --expires and --days"),
        (["--holder", "x", "--days", "1", "--expires", "2030-01-01"], 2, "one of --expires"),
        (["--days", "1"], 2, "--holder"),
        (["--holder", "x", "--days", "0"], 2, "--days"),
        (["--holder", "x", "--expires", "soon"], 2, "'soon' is not a moment such as 2027-01-31"),
        (["--holder", "x", "--days", "1", "--feature", "vdo"], 2, "'vdo' is not one of"),
        (["--holder", "", "--days", "1"], 1, "the holder is not a text"),
        (["--holder", "x", "--expires", "2001-01-01"], 1, "it expires before it begins"),
        (["--holder", "x", "--not-before", "9999-01-01", "--days", "999"], 1, "out of range"),
        (["--holder", "x", "--days", "1", "--issuer-key", "absent"], 1, "absent: No such file"),
        (
            ["--holder", "x", "--days", "1", "--issuer-key", "license/issuer.pub"],
            1,
            "license/issuer.pub: it is not an Ed25519 private key",
        ),
        (["--holder", "x", "--days", "1", "-o", "license/issuer.pub"], 1, "File exists"),
        (["--holder", "x", "--days", "1", "-o", "no/where"], 1, "No such file or directory"),
    ],
)
def test_what_is_not_issued(run: Run, arguments: list[str], code: int, said: str) -> None:
    before = Path("license/issuer.pub").read_bytes()
    done = run("issue", *arguments)
    assert done.exit_code == code
    assert said in done.output
    assert Path("license/issuer.pub").read_bytes() == before


@pytest.mark.parametrize(
    ("key", "code", "said"),
    [
        (issued(), 0, "valid, for 364 more days"),
        (issued().replace("\n", "\r\n"), 0, "valid"),
        (issued("live"), 6, "not valid: the key does not include the feature vod"),
        (issued(ends=-5), 5, "not valid: the key has expired: on 20"),
        (issued(begins=DAY), 4, "not valid: the key is not valid yet: not before 20"),
        (issued().replace("the tests", "others"), 3, "not valid: the key is not what its issuer"),
        (issued(by=new_issuer()), 3, "not valid: the issuer of the key is not trusted here"),
        ("", 1, "not valid: the key is damaged: the first line is not"),
        ("\0" * 10000, 1, "not valid: the key is damaged: it is longer than"),
        (issued().replace("Holder", "Hlder"), 1, "not valid: the key is damaged: line 3 is none"),
    ],
    ids=range(10),
)
def test_verdicts_and_their_exit_codes(run: Run, key: str, code: int, said: str) -> None:
    done = run("verify", "--feature", "vod", "-", stdin=key)
    assert (done.exit_code, said in done.output) == (code, True), done.output


def test_where_keys_come_from(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = run("verify")
    assert absent.exit_code == 1
    assert "the key cannot be read: license/license.key: No such file or directory" in absent.output
    Path("elsewhere").write_text(issued("live"))
    assert "Features:   live\n" in run("show", "elsewhere").output
    monkeypatch.setenv("UspLicenseKey", "elsewhere")
    assert "Features:   live\n" in run("verify").output
    monkeypatch.setenv("UspLicenseKey", issued("drm"))
    assert "Features:   drm\n" in run("verify").output
    assert "Features:   vod\n" in run("show", issued("vod")).output
    os.mkfifo("fifo")
    assert "Not a regular file" in run("show", "fifo").output


def test_an_issuer_that_cannot_be_read(run: Run) -> None:
    done = run("verify", "-", "--issuer", "absent.pub", stdin=issued())
    assert (done.exit_code, done.output) == (
        1,
        "not valid: absent.pub: No such file or directory\n",
    )
    done = run("verify", "-", "--issuer", "license/issuer.key", stdin=issued())
    assert done.exit_code == 1
    assert "license/issuer.key: it is not an Ed25519 public key" in done.output


def test_two_issuers(run: Run) -> None:
    other = new_issuer()
    Path("new.pub").write_bytes(other.public_pem)
    both = ("--issuer", "license/issuer.pub", "--issuer", "new.pub")
    for key in (issued(), issued(by=other)):
        assert run("verify", "-", *both, stdin=key).exit_code == 0


def test_show_needs_no_issuer(run: Run) -> None:
    key = issued(by=new_issuer())
    assert run("show", "-", stdin=key).exit_code == 0
    damaged = run("show", "-", stdin="x")
    assert damaged.exit_code == 1
    assert "Error: the key is damaged" in damaged.output


def test_a_key_pair(run: Run) -> None:
    made = run("keypair", "own/issuer")
    assert made.exit_code == 0
    private, public = Path("own/issuer/issuer.key"), Path("own/issuer/issuer.pub")
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    made_by = read_issuer(private.read_bytes())
    assert made_by.id in made.output
    assert made_by.public_pem == public.read_bytes()
    again = run("keypair", "own/issuer")
    assert (again.exit_code, "exists, and is not replaced" in again.output) == (1, True)
    private.unlink()
    assert run("keypair", "own/issuer").exit_code == 1, "nor when one of them is there"
    assert made_by.public_pem == public.read_bytes()


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_prepare_makes_what_is_not_there(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "license2"
    assert len(make_keys(folder)) == 2
    made = files(folder)
    assert set(made) == {"issuer.key", "issuer.pub", "license.key"}
    assert stat.S_IMODE((folder / "issuer.key").stat().st_mode) == 0o600
    key, pub = str(folder / "license.key"), str(folder / "issuer.pub")
    features = ("--feature", "vod", "--feature", "live", "--feature", "drm")
    verified = run("verify", key, "--issuer", pub, *features)
    assert verified.exit_code == 0
    days = int(verified.output.rpartition("for ")[2].split()[0])
    assert 3600 < days < 3700
    assert make_keys(folder) == []
    assert files(folder) == made


def test_prepare_replaces_nothing(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"  # the key came from somebody else
    foreign.mkdir()
    (foreign / "issuer.pub").write_bytes(issuer().public_pem)
    assert make_keys(foreign) == []
    (foreign / "license.key").write_text("theirs")
    assert make_keys(foreign) == []
    assert files(foreign) == {"issuer.pub": issuer().public_pem, "license.key": b"theirs"}

    own = tmp_path / "own"  # the issuer is there, a new key is wanted
    make_keys(own)
    before = files(own)
    (own / "license.key").unlink()
    (own / "issuer.pub").unlink()
    assert len(make_keys(own)) == 2
    assert files(own)["issuer.pub"] == before["issuer.pub"]
    assert files(own)["issuer.key"] == before["issuer.key"]

    (own / "license.key").unlink()
    (own / "issuer.key").write_text("not one")
    with pytest.raises(click.ClickException, match="not an Ed25519 private key"):
        make_keys(own)
    assert not (own / "license.key").exists()


def test_prepare_trusts_no_key_to_a_foreign_issuer(tmp_path: Path) -> None:
    make_keys(tmp_path)
    (tmp_path / "license.key").unlink()
    (tmp_path / "issuer.pub").write_bytes(new_issuer().public_pem)
    with pytest.raises(click.ClickException, match="does not belong to"):
        make_keys(tmp_path)
    assert not (tmp_path / "license.key").exists()
    (tmp_path / "issuer.pub").unlink()
    (tmp_path / "issuer.pub").mkdir()
    with pytest.raises(click.ClickException, match=r"issuer\.pub: Not a regular file"):
        make_keys(tmp_path)
    with pytest.raises(click.ClickException, match="File exists"):
        make_keys(tmp_path / "issuer.key")


def test_instances_have_the_folder_of_their_configuration(tmp_path: Path) -> None:
    def made(run: str, conf: Path) -> Path:
        instance = Instance(tmp_path / run)
        instance.make(NGINX, conf=conf, media=tmp_path, port=18597, workers=1)
        return instance.license

    shipped = PROJECT / "openresty.conf"
    assert made("a", shipped).resolve() == PROJECT / "license"
    copy = tmp_path / "conf" / "openresty.conf"
    copy.parent.mkdir()
    copy.write_text(shipped.read_text())
    assert made("b", copy).resolve() == PROJECT / "license"
    (copy.parent / "license").mkdir()
    assert made("b", copy).resolve() == copy.parent / "license"
    own = tmp_path / "c" / "license"
    own.mkdir(parents=True)
    assert made("c", copy) == own and not own.is_symlink()
