from __future__ import annotations

from pathlib import Path

import pytest

from interceptor import config
from interceptor.mesh import vip
from interceptor.source import state


def test_what_is_written_is_read(tmp_path: Path) -> None:
    mesh = config.Mesh(state_dir=tmp_path / "new/folder")
    allocation = state.read(mesh)
    allocation.allocate("a.example")
    assert state.write(mesh, vip.encode(allocation))
    assert state.read(mesh).addresses("a.example") == allocation.addresses("a.example") != ()
    assert [path.name for path in mesh.state_dir.iterdir()] == [state.NAME]


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b'{"version": 1}'])
def test_a_broken_file_is_a_warning_and_a_fresh_start(
    tmp_path: Path, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / state.NAME).write_bytes(data)
    assert not state.read(config.Mesh(state_dir=tmp_path)).slots
    (record,) = caplog.records
    assert "VIPs start anew" in record.getMessage()


def test_a_folder_that_cannot_be_written_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    assert not state.write(config.Mesh(state_dir=tmp_path / "file/folder"), b"")
    assert "VIPs could not be written" in caplog.text
