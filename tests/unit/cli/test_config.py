"""`config`: what Istio says becomes ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., tuple[int, str, str]]


def test_config_from_istio_is_a_configuration(run: Run, tmp_path: Path) -> None:
    env = tmp_path / "cluster.env"
    env.write_text("ISTIO_NAMESPACE='vm'\nISTIO_SERVICE_CIDR='*'\nCA_ADDR='x:15012'\nISTIO_NEW=1\n")
    code, out, _ = run("config", "from-istio", str(env))
    assert code == 0
    assert out.startswith("# ISTIO_NEW: ")
    ours = tmp_path / "ours.yaml"
    ours.write_text(out)
    _, out, _ = run("config", "show", "--json", "--config", str(ours))
    tree = json.loads(out)
    assert tree["identity"]["addresses"] == ["x:15012"]
    assert (tree["node"]["namespace"], tree["capture"]["outbound"]["cidrs"]) == ("vm", "*")
    _, out, _ = run("config", "show", "--json", "--istio-env", str(env))
    assert json.loads(out)["node"]["namespace"] == "vm"
