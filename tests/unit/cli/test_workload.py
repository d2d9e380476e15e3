"""`interceptor workload` as istioctl's users call it."""

from __future__ import annotations

import stat
from pathlib import Path

import yaml

from tests.unit.cli.conftest import Run
from tests.unit.workload import kubeapi


def test_a_group_is_printed_as_istioctl_prints_it(run: Run) -> None:
    code, out, _ = run(
        *("workload", "group", "create", "--name", "ratings", "-n", "vm"),
        *("-l", "app=ratings,version=v1", "-l", "tier=back", "-a", "note=x"),
        *("-p", "grpc=3550,http=8080", "-s", "shop", "--locality", "eu/a", "-w", "3"),
    )
    assert code == 0
    assert yaml.safe_load(out)["spec"] == {
        "metadata": {
            "labels": {"app": "ratings", "version": "v1", "tier": "back"},
            "annotations": {"note": "x"},
        },
        "template": {
            "ports": {"grpc": 3550, "http": 8080},
            "locality": "eu/a",
            "weight": 3,
            "serviceAccount": "shop",
        },
    }


def test_a_group_that_is_not_legal_is_refused(run: Run) -> None:
    code, _, err = run("workload", "group", "create", "--name", "A b", "-n", "vm")
    assert (code, "metadata.name" in err) == (2, True)
    code, _, err = run(*("workload", "group", "create", "--name", "a", "-n", "v", "-p", "http=0"))
    assert (code, "1 to 65535" in err) == (2, True)
    code, _, err = run(*("workload", "group", "create", "--name", "a", "-n", "v", "-l", "x"))
    assert (code, "key=value" in err) == (2, True)


def test_a_bundle_of_a_cluster_is_written_for_its_owner_alone(run: Run, tmp_path: Path) -> None:
    out_dir = tmp_path / "vm"
    with kubeapi.serve() as api:
        kubeapi.fill(api)
        code, out, err = run(
            *("workload", "entry", "configure", "--name", "ratings", "--namespace", "vm"),
            *("-o", str(out_dir), "--clusterID", "mine", "--autoregister", "--capture-dns=false"),
            *("--tokenDuration", "7200", "--kubeconfig", str(api.kubeconfig(tmp_path))),
        )
    assert (code, err) == (0, "")
    assert "interceptor join vm" in out
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in out_dir.iterdir()}
    assert modes == dict.fromkeys(
        ("cluster.env", "mesh.yaml", "root-cert.pem", "istio-token", "hosts"), 0o600
    )
    assert stat.S_IMODE(out_dir.stat().st_mode) == 0o700
    text = (out_dir / "cluster.env").read_text()
    assert "ISTIO_META_AUTO_REGISTER_GROUP='ratings'" in text
    assert "ISTIO_META_CLUSTER_ID='mine'" in text
    assert "DNS_CAPTURE" not in text
    assert (out_dir / "hosts").read_text() == "203.0.113.7 istiod.istio-system.svc\n"


def test_a_balancer_with_a_name_is_written_for_us_and_none_at_all_is_a_warning(
    run: Run, tmp_path: Path
) -> None:
    words = ("workload", "entry", "configure", "--name", "ratings", "-n", "vm")
    with kubeapi.serve() as api:
        kubeapi.fill(api)
        config = str(api.kubeconfig(tmp_path))
        kubeapi.gateway(api, {"hostname": "lb.example.com"})
        assert run(*words, "-o", str(tmp_path / "a"), "-c", config)[0] == 0
        kubeapi.gateway(api)
        code, _, err = run(*words, "-o", str(tmp_path / "b"), "-c", config)
    own = yaml.safe_load((tmp_path / "a/interceptor.yaml").read_text())
    assert own["mesh"]["istiod"]["addresses"] == ["lb.example.com:15012"]
    assert (code, "--ingressIP" in err) == (0, True)
    assert (tmp_path / "b/hosts").read_text() == ""
