"""The files of a VM, made by a real cluster's API."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest
import yaml

from interceptor.lab import agent as lab_agent
from interceptor.lab.world import PACKAGE_ROOT
from tests.interop import document
from tests.interop.conftest import Site

pytestmark = [pytest.mark.root, pytest.mark.slow]

FILES = {"cluster.env", "mesh.yaml", "root-cert.pem", "istio-token", "hosts"}


def interceptor(site: Site, *words: str) -> str:
    """A command on istiod's host, where the API is reached."""
    argv = ["env", f"PYTHONPATH={PACKAGE_ROOT}", *lab_agent.interceptor_argv(), *words]
    return site.lab.run("cp", argv, timeout_s=60).stdout


def test_a_group_is_created_and_its_vm_gets_files_that_join_takes(
    site: Site, tmp_path: Path
) -> None:
    words = ["--name", "ledger", "-n", "vm", "-l", "app=ledger", "-p", "http=8080"]
    group = yaml.safe_load(interceptor(site, "workload", "group", "create", *words))
    assert group["apiVersion"].startswith("networking.istio.io/")
    site.plane.apply(group | {"apiVersion": document.NETWORKING})
    out = tmp_path / "files"
    words = ["--name", "ledger", "-n", "vm", "-o", str(out), "--autoregister", "true"]
    words += ["--kubeconfig", str(site.plane.kubeconfig), "--ingressIP", "10.77.0.70"]
    interceptor(site, "workload", "entry", "configure", *words)
    assert {each.name for each in out.iterdir()} == FILES
    assert {stat.S_IMODE(each.stat().st_mode) for each in out.iterdir()} == {0o600}
    assert (out / "root-cert.pem").read_text().strip() == site.plane.root_cert().strip()
    body = (out / "istio-token").read_text().split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    assert claims["aud"] == ["istio-ca"]
    assert claims["sub"] == "system:serviceaccount:vm:default"
    metadata = yaml.safe_load((out / "mesh.yaml").read_text())["defaultConfig"]["proxyMetadata"]
    assert metadata["ISTIO_META_AUTO_REGISTER_GROUP"] == "ledger"
    assert "10.77.0.70 istiod.istio-system.svc" in (out / "hosts").read_text()
    image = tmp_path / "image"
    image.mkdir()
    told = interceptor(site, "join", str(out), "--dry-run", "--root", str(image))
    assert "interceptor.yaml" in told
    assert not list(image.iterdir())
