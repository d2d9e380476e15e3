from __future__ import annotations

from pathlib import Path

from interceptor.host import pin
from interceptor.host.layout import LAYOUT, Map

FOLDER = Path("/b")


def test_maps_are_pinned_by_layout_but_for_those_that_outlive_layouts() -> None:
    assert pin.map_path(FOLDER, Map.STATE) == Path(f"/b/v{LAYOUT}/state")
    assert pin.map_path(FOLDER, Map.STATE, 7) == Path("/b/v7/state")
    assert pin.map_path(FOLDER, Map.ALIAS4) == pin.map_path(FOLDER, Map.ALIAS4, 7)
    assert pin.link_path(FOLDER, "connect4") == Path("/b/links/connect4")


def test_versions_are_those_folders_that_are_named_so(tmp_path: Path) -> None:
    for name in ("v10", "v2", "links", "v", "vx", "v3x"):
        (tmp_path / name).mkdir()
    assert pin.versions(tmp_path) == (2, 10)
    assert pin.versions(tmp_path / "none") == ()


def test_links_are_listed_with_connect_first(tmp_path: Path) -> None:
    assert pin.links(tmp_path) == ()
    (tmp_path / "links").mkdir()
    for name in ("lookup", "connect6", "peername4", "connect4", "original", "listen"):
        (tmp_path / "links" / name).touch()
    assert pin.links(tmp_path)[:2] == ("connect4", "connect6")


def test_an_ordinary_file_system_is_no_bpffs(tmp_path: Path) -> None:
    assert not pin.on_bpffs(tmp_path)
    assert not pin.on_bpffs(tmp_path / "not" / "there")
