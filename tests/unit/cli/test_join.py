"""`interceptor join` and `leave` as a program calls them, below --root."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interceptor.workload import carrier, group
from tests.unit.cli.conftest import Run
from tests.unit.workload import packed


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path / "image"
    (place / "etc").mkdir(parents=True)
    (place / "var").mkdir()
    return place


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    place = tmp_path / "vm"
    carrier.apply(place, packed.istio())
    return place


def test_a_dry_run_shows_the_plan_and_writes_nothing(run: Run, bundle: Path, root: Path) -> None:
    code, out, _ = run("join", str(bundle), "--root", str(root), "--dry-run")
    assert code == 0
    assert "ratings in vm, as spiffe://cluster.local/ns/vm/sa/shop" in out
    assert "by istiod at 203.0.113.7:15012" in out
    assert "0600 /var/lib/interceptor/istio-token" in out
    assert "+mesh:" in out
    assert "eyJ" not in out, "a token is nobody's to see"
    assert not list((root / "etc").iterdir())


def test_the_plan_as_json(run: Run, bundle: Path, root: Path) -> None:
    code, out, _ = run("join", str(bundle), "--root", str(root), "--dry-run", "--json")
    tree = json.loads(out)
    assert code == 0
    assert tree["member"].startswith("ratings in vm")
    assert {file["state"] for file in tree["files"]} == {"new"}
    assert "/etc/interceptor/root-cert.pem" in {file["path"] for file in tree["files"]}


def test_a_tree_is_joined_and_left(run: Run, bundle: Path, root: Path) -> None:
    code, out, _ = run("join", str(bundle), "--root", str(root), "--no-start", "--yes")
    assert code == 0
    assert (root / "etc/interceptor/interceptor.yaml").exists()
    assert "wrote /etc/interceptor/interceptor.yaml" in out
    code, out, _ = run("join", str(bundle), "--root", str(root), "--dry-run")
    assert "same" in out
    code, out, _ = run("leave", "--root", str(root))
    assert code == 0
    assert not list((root / "etc").iterdir())
    assert not list((root / "var").iterdir())
    code, _, err = run("leave", "--root", str(root))
    assert code == 1
    assert "nothing to undo" in err


def test_a_bad_bundle_is_refused_with_every_problem(run: Run, tmp_path: Path, root: Path) -> None:
    files = packed.istio()
    files["istio-token"] = files["istio-token"][:100]
    files["root-cert.pem"] = b"none"
    carrier.apply(tmp_path / "bad", files)
    code, _, err = run("join", str(tmp_path / "bad"), "--root", str(root))
    assert code == 2
    assert "istio-token" in err
    assert "root-cert.pem" in err
    assert not list((root / "etc").iterdir())
    code, out, _ = run("join", str(tmp_path / "nowhere"), "--root", str(root), "--json")
    assert code == 2
    assert json.loads(out)["problems"][0]["key"] == "(bundle)"


def test_a_site_without_istiod_from_authority_to_member(run: Run, tmp_path: Path) -> None:
    """Every step by the command line, as the documentation has them."""
    config = tmp_path / "authority.yaml"
    config.write_text(f"authority: {{dir: {tmp_path}/authority}}\n")
    with_config = ("--config", str(config))
    assert run("authority", "init", *with_config)[0] == 0
    _, roots, _ = run("authority", "show", "--roots", *with_config)
    (tmp_path / "root.pem").write_text(roots)
    words = ("-n", "vm", "-s", "shop", "-o", str(tmp_path / "token"))
    assert run("authority", "token", *words, *with_config)[0] == 0
    (tmp_path / "mesh").mkdir()
    (tmp_path / "mesh/shop.yaml").write_bytes(packed.SHOP)
    (tmp_path / "group.yaml").write_text(group.render(packed.GROUP))
    code, out, err = run(
        *("workload", "entry", "configure", "-f", str(tmp_path / "group.yaml"), "--autoregister"),
        *("-o", str(tmp_path / "vm"), "--documents", str(tmp_path / "mesh")),
        *("--root-cert", str(tmp_path / "root.pem"), "--token-file", str(tmp_path / "token")),
        *("--authority", "198.51.100.9:15012"),
    )
    assert (code, err) == (0, "")
    image = tmp_path / "image"
    image.mkdir()
    code, out, _ = run("join", str(tmp_path / "vm"), "--root", str(image), "--no-start")
    assert code == 0
    assert "ratings in vm, as spiffe://cluster.local/ns/vm/sa/shop" in out
    text = (image / "etc/interceptor/interceptor.yaml").read_text()
    assert "198.51.100.9:15012" in text
    assert (image / "etc/interceptor/mesh/shop.yaml").read_bytes() == packed.SHOP
    assert run("leave", "--root", str(image))[0] == 0
    assert not list(image.iterdir())
