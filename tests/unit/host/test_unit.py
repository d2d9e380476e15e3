"""What systemctl prints, read; the rest is tests/systemd/test_join.py."""

from __future__ import annotations

from pathlib import Path

from interceptor.host import unit


def test_what_is_running_and_enabled_is_read() -> None:
    text = "LoadState=loaded\nUnitFileState=enabled-runtime\nActiveState=activating\n"
    found = unit.decode("a.service", text)
    assert (found.is_there, found.is_enabled, found.is_active) == (True, True, True)


def test_a_unit_that_is_not_there_is_none() -> None:
    text = "LoadState=not-found\nUnitFileState=\nActiveState=inactive\n"
    found = unit.decode("a.service", text)
    assert (found.is_there, found.is_enabled, found.is_active) == (False, False, False)
    assert not unit.decode("a.service", "").is_there, "systemctl said nothing"


def test_a_tree_is_asked_without_booting_it(tmp_path: Path) -> None:
    assert not unit.observe_image("a.service", tmp_path).is_there
    folder = tmp_path / "etc/systemd/system"
    folder.mkdir(parents=True)
    (folder / "a.service").write_text(
        "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=x.target\n"
    )
    assert not unit.observe_image("a.service", tmp_path).is_enabled
    assert unit.apply("enable", "a.service", tmp_path)
    assert unit.observe_image("a.service", tmp_path).is_enabled
