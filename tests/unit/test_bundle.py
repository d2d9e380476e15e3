"""What goes into a bundle, and what of it stays behind."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
import yaml

from interceptor import bundle, config
from interceptor.bundle import Wish
from interceptor.errors import InterceptorError

PLANTED = "S3cr3tOfTheLabel"


def settings(tmp_path: Path) -> config.Config:
    mesh = tmp_path / "mesh"
    mesh.mkdir()
    (mesh / "a.yaml").write_text(
        f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: a, namespace: b, annotations: {{password: {PLANTED}}}}}
spec: {{hosts: [a.example], addresses: [10.9.9.9], ports: [{{number: 80, name: http}}],
  resolution: STATIC, location: MESH_EXTERNAL, endpoints: [{{address: 10.0.0.9}}]}}
"""
    )
    tree = {
        "node": {"labels": {"app": "web", "api_token": PLANTED}},
        "mesh": {"files": [str(mesh)], "state_dir": str(tmp_path / "state")},
        "agent": {"run_dir": str(tmp_path / "run")},
        "capture": {"backend": "nftables"},
        "sidecar": {"mode": "none"},
    }
    return config.parse(json.dumps(tree))


def texts(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        found = {}
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            found[member.name.partition("/")[2]] = file.read().decode()
        return found


def test_a_host_without_a_daemon_gives_what_it_has_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERCEPTOR_TEST_TOKEN", PLANTED)
    run = tmp_path / "run"
    run.mkdir()
    (run / "sidecar.log").write_text(f"[warning] password={PLANTED} is wrong\n" * 3)
    path = tmp_path / "x.tar.gz"
    doctor = {"checks": [{"seen": f"--token {PLANTED}"}]}
    items = bundle.send(settings(tmp_path), Wish(path, doctor))
    found = texts(path)
    assert not [name for name, text in found.items() if PLANTED in text]
    assert yaml.safe_load(found["config.yaml"])["node"]["labels"]["app"] == "web"
    assert "is wrong" in found["log/sidecar.txt"]
    assert json.loads(found["doctor.json"])["checks"]
    manifest = found["MANIFEST.txt"]
    assert "status.json" in manifest
    assert "no daemon answers" in manifest
    assert "mesh documents" in manifest
    assert sum(item.removed for item in items) >= 4


@pytest.mark.parametrize("whole", [False, True])
def test_the_mesh_is_counted_and_told_in_full_on_wish(tmp_path: Path, whole: bool) -> None:
    path = tmp_path / "x.tar.gz"
    bundle.send(settings(tmp_path), Wish(path, {}, with_mesh=whole))
    text = texts(path)["mesh.json"]
    assert json.loads(text)["hosts"] == 1
    assert ("a.example" in text) is whole


def test_a_file_that_is_there_is_refused_before_anything_is_collected(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    path.touch()
    told: list[str] = []
    with pytest.raises(InterceptorError, match="name another file"):
        bundle.send(settings(tmp_path), Wish(path, {}), told.append)
    assert not told
