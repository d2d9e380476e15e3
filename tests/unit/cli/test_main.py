"""The contract of the command line: exit codes, JSON, errors that say what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interceptor.cli.main import main

MESH = """\
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: bookinfo}
spec:
  clusterIP: 10.0.0.7
  ports: [{name: http, port: 9080}]
"""


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """A configuration file whose mesh has one Service."""
    (tmp_path / "mesh").mkdir()
    (tmp_path / "mesh" / "a.yaml").write_text(MESH)
    path = tmp_path / "interceptor.yaml"
    path.write_text(
        f"mesh: {{files: [{tmp_path}/mesh], state_dir: {tmp_path}/state}}\n"
        f"agent: {{run_dir: {tmp_path}/run}}\n"
        "dns: {search: [corp.example]}\n"
    )
    return path


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(argv))
    assert isinstance(ended.value.code, int)
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err


def test_resolve_prints_the_contracts_json(
    capsys: pytest.CaptureFixture[str], configuration: Path
) -> None:
    code, out, _ = run(
        capsys, "resolve", "Reviews.bookinfo", "--json", "--config", str(configuration)
    )
    tree = json.loads(out)
    assert code == 0
    assert set(tree) == {"name", "type", "verdict", "rcode", "answers", "host", "why"}
    assert tree["verdict"] == "answer"
    assert tree["answers"] == [
        {"name": "reviews.bookinfo", "type": "A", "ttl_s": 30, "data": "10.0.0.7"}
    ]
    assert tree["host"] == "reviews.bookinfo.svc.cluster.local"


@pytest.mark.parametrize(
    ("name", "kind", "verdict"),
    [
        ("reviews.bookinfo.svc.cluster.local", "AAAA", "nodata"),
        ("reviews.bookinfo.svc.cluster.local.corp.example", "A", "answer"),
        ("example.com", "A", "pass"),
    ],
)
def test_resolve_tells_each_verdict(
    capsys: pytest.CaptureFixture[str], configuration: Path, name: str, kind: str, verdict: str
) -> None:
    argv = ("resolve", name, "--type", kind, "--json", "--config", str(configuration))
    code, out, _ = run(capsys, *argv)
    assert (code, json.loads(out)["verdict"]) == (0, verdict)


def test_explain_prints_the_contracts_json(
    capsys: pytest.CaptureFixture[str], configuration: Path
) -> None:
    argv = ("explain", "tcp", "reviews.bookinfo:9080", "--uid", "1000", "--gid", "1000")
    code, out, _ = run(capsys, *argv, "--json", "--config", str(configuration))
    tree = json.loads(out)
    assert code == 0
    assert {"verdict", "to", "rule", "why", "host", "endpoints"} <= set(tree)
    assert (tree["verdict"], tree["to"], tree["rule"]) == ("outbound", "127.0.0.1:15001", 7)


def test_explain_of_dns_is_the_dns_plane(
    capsys: pytest.CaptureFixture[str], configuration: Path
) -> None:
    argv = ("explain", "udp", "192.0.2.53:53", "--uid", "1000", "--gid", "1000", "--json")
    _, out, _ = run(capsys, *argv, "--config", str(configuration))
    assert json.loads(out)["verdict"] == "dns"


def test_a_name_of_nobody_passes(capsys: pytest.CaptureFixture[str], configuration: Path) -> None:
    argv = ("explain", "tcp", "example.com:443", "--json", "--config", str(configuration))
    code, out, _ = run(capsys, *argv)
    assert (code, json.loads(out)["verdict"]) == (0, "pass")


@pytest.mark.parametrize(
    "argv",
    [
        ("resolve",),
        ("resolve", "x", "--type", "NOPE"),
        ("explain", "tcp", "no-port"),
        ("explain", "tcp", "a:1", "--from", "nowhere"),
        ("run", "--confirm", "soon"),
        ("no-such-command",),
        ("resolve", "x", "--config", "/nonexistent.yaml"),
        ("resolve", "x", "--nametable", "/nonexistent.json"),
    ],
)
def test_wrong_usage_and_configuration_end_with_2(
    capsys: pytest.CaptureFixture[str], argv: tuple[str, ...]
) -> None:
    code, _, err = run(capsys, *argv)
    assert code == 2
    assert err


def test_every_problem_of_a_wrong_document_is_printed(
    capsys: pytest.CaptureFixture[str], configuration: Path
) -> None:
    bad = configuration.parent / "mesh" / "b.yaml"
    bad.write_text(MESH.replace("9080", "99999").replace("10.0.0.7", "nowhere"))
    code, _, err = run(capsys, "mesh", "check", "--config", str(configuration))
    assert code == 2
    assert f"{bad}:5 (Service bookinfo/reviews)" in err
    assert "99999" in err
    code, out, _ = run(capsys, "mesh", "check", "--json", "--config", str(configuration))
    assert code == 2
    assert len(json.loads(out)["problems"]) == 2


def test_what_this_host_cannot_ends_with_3(
    capsys: pytest.CaptureFixture[str], configuration: Path
) -> None:
    argv = ("plan", "--backend", "ebpf", "--config", str(configuration))
    code, _, err = run(capsys, *argv)
    assert code == 3
    assert "ebpf" in err


def test_status_without_a_daemon_ends_with_1_and_says_what_to_do(
    capsys: pytest.CaptureFixture[str], configuration: Path
) -> None:
    code, _, err = run(capsys, "status", "--config", str(configuration))
    assert code == 1
    assert "interceptor run" in err


def test_mesh_list_and_show_and_export(
    capsys: pytest.CaptureFixture[str], configuration: Path
) -> None:
    tail = ("--config", str(configuration))
    _, out, _ = run(capsys, "mesh", "list", "--json", *tail)
    assert [row["host"] for row in json.loads(out)] == ["reviews.bookinfo.svc.cluster.local"]
    _, out, _ = run(capsys, "mesh", "show", "reviews.bookinfo", *tail)
    assert "10.0.0.7" in out
    _, out, _ = run(capsys, "mesh", "export", "--format", "hosts", *tail)
    assert out == "10.0.0.7 reviews.bookinfo.svc.cluster.local\n"
    code, _, err = run(capsys, "mesh", "show", "nobody", *tail)
    assert (code, "nobody" in err) == (1, True)


def test_a_name_table_that_was_exported_reads_back(
    capsys: pytest.CaptureFixture[str], configuration: Path
) -> None:
    _, out, _ = run(capsys, "mesh", "export", "--config", str(configuration))
    table = configuration.parent / "ndsz.json"
    table.write_text(out)
    argv = ("resolve", "reviews.bookinfo.svc", "--nametable", str(table), "--json")
    _, out, _ = run(capsys, *argv, "--config", str(configuration))
    assert json.loads(out)["answers"][0]["data"] == "10.0.0.7"


def test_config_from_istio_is_a_configuration(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    env = tmp_path / "cluster.env"
    env.write_text("ISTIO_NAMESPACE='vm'\nISTIO_SERVICE_CIDR='*'\nCA_ADDR='x:15012'\n")
    code, out, _ = run(capsys, "config", "from-istio", str(env))
    assert code == 0
    assert out.startswith("# CA_ADDR: ")
    ours = tmp_path / "ours.yaml"
    ours.write_text(out)
    _, out, _ = run(capsys, "config", "show", "--json", "--config", str(ours))
    tree = json.loads(out)
    assert (tree["node"]["namespace"], tree["capture"]["outbound"]["cidrs"]) == ("vm", "*")
    _, out, _ = run(capsys, "config", "show", "--json", "--istio-env", str(env))
    assert json.loads(out)["node"]["namespace"] == "vm"
