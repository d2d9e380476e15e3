"""`interceptor service`: registered, answered by `resolve`, and gone again."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.unit.cli.conftest import Run
from tests.unit.workload import kubeapi

WORDS = ("--port", "http=80:8080", "--address", "10.0.0.1", "--vm", "vm1", "-n", "shops")


def test_a_registered_service_is_resolved_and_a_deregistered_one_is_not(
    run: Run, configuration: Path
) -> None:
    config = ("--config", str(configuration))
    code, out, _ = run("service", "register", "shop", *WORDS, *config)
    assert (code, out.count("wrote")) == (0, 2)
    _, out, _ = run("resolve", "shop.shops.svc.cluster.local", *config)
    assert "answer" in out
    _, out, _ = run("mesh", "show", "shop.shops.svc.cluster.local", *config)
    assert "endpoint 10.0.0.1:8080" in out
    code, out, _ = run("service", "deregister", "shop", "--vm", "vm1", "-n", "shops", *config)
    assert (code, out.count("removed")) == (0, 2)
    _, out, _ = run("resolve", "shop.shops.svc.cluster.local", *config)
    assert "pass" in out


def test_a_host_that_another_document_has_is_refused(run: Run, configuration: Path) -> None:
    code, _, err = run(
        *("service", "register", "reviews", "-p", "http=80", "--address", "10.0.0.1"),
        *("-n", "bookinfo", "--config", str(configuration)),
    )
    assert code == 1
    assert "Service bookinfo/reviews (a.yaml)" in err


def test_documents_may_be_printed_for_whoever_applies_them(run: Run, configuration: Path) -> None:
    code, out, _ = run(
        "service", "register", "shop", *WORDS, "--print", "--config", str(configuration)
    )
    assert code == 0
    assert [tree["kind"] for tree in yaml.safe_load_all(out)] == ["ServiceEntry", "WorkloadEntry"]


def test_a_mesh_of_istiod_s_wants_a_cluster(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("mesh: {source: istiod}\n")
    code, _, err = run("service", "register", "shop", *WORDS, "--config", str(config))
    assert code == 2
    assert "--kubeconfig" in err
    with kubeapi.serve() as api:
        words = ("--config", str(config), "--kubeconfig", str(api.kubeconfig(tmp_path)))
        code, out, _ = run("service", "register", "shop", *WORDS, *words)
        assert (code, out.count("applied")) == (0, 2)
        code, out, _ = run("service", "deregister", "shop", "--vm", "vm1", "-n", "shops", *words)
        assert (code, out.count("removed")) == (0, 2)
        assert api.objects == {}


@pytest.mark.parametrize("port", ["http", "http=0", "http=80:99999", "http=x"])
def test_a_port_that_is_none_is_refused(run: Run, configuration: Path, port: str) -> None:
    code, _, err = run("service", "register", "shop", "-p", port, "--config", str(configuration))
    assert code == 2
    assert port.partition("=")[0] in err
