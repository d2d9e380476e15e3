"""`top` and the metrics of a real agent: what they say is what was done, counted by who did it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import shlex
import signal
import struct
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import pytest

from interceptor.debug.dashboard import alert, form, proxy
from interceptor.host import command
from interceptor.lab.agent import Agent
from interceptor.lab.removal import LabFailed, wait_until
from interceptor.lab.world import environment

pytestmark = [pytest.mark.root, pytest.mark.envoy]

ROOT = Path(__file__).parents[2]
NAME = "reviews.bookinfo.svc.cluster.local"
SERVICE = f"{NAME}:9080"
OTHER = "www.corp.example"
ASKED, OTHERS, CALLED = 7, 4, 5
LOAD = f"""
for i in 1 2 3 4 5 6 7; do dig +short +tries=1 +time=2 @10.77.0.53 {NAME}; done
for i in 1 2 3 4; do dig +short +tries=1 +time=2 @10.77.0.53 {OTHER}; done
for i in 1 2 3 4 5; do curl --silent --max-time 3 --output /dev/null http://10.96.0.11:9080/; done
"""


def metric(agent: Agent, name: str) -> float:
    """A figure by the agent's own page, all its labels summed up."""
    lines = agent.run("metrics").stdout.splitlines()
    found = [line for line in lines if line.split("{")[0].split(" ")[0] == name]
    return sum(float(line.rpartition(" ")[2]) for line in found)


SCRAPES = """
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%s]
scrape_configs:
  - job_name: interceptor
    static_configs: [{targets: ["127.0.0.1:15020"]}]
  - job_name: envoy
    metrics_path: /stats/prometheus
    static_configs: [{targets: ["127.0.0.1:15090"]}]
"""
ASK = """
import json, sys, urllib.parse, urllib.request
def ask(page):
    try:
        with urllib.request.urlopen("http://127.0.0.1:9090/api/v1/" + page, timeout=5) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)
print(json.dumps([ask(page) for page in json.load(sys.stdin)]))
"""


class Prometheus:
    """A real one on the agent's host, which scrapes the agent and its Envoy each second."""

    def __init__(self, member: Agent) -> None:
        self._member = member
        folder = member.lab.host_folder(member.host) / "prometheus"
        folder.mkdir()
        (folder / "prometheus.yml").write_text(SCRAPES % (ROOT / "docs" / "alerts.yaml"))
        argv = ["prometheus", f"--config.file={folder}/prometheus.yml"]
        argv += [f"--storage.tsdb.path={folder}/data", "--web.listen-address=127.0.0.1:9090"]
        member.lab.start(member.host, argv, "prometheus")

    def ask(self, pages: list[str]) -> list[dict[str, Any]]:
        """What the API answers to each page."""
        argv = ["/usr/bin/python3", "-c", ASK]
        text = self._member.lab.run(self._member.host, argv, json.dumps(pages)).stdout
        return cast("list[dict[str, Any]]", json.loads(text))

    def query(self, expressions: list[str]) -> dict[str, list[Any]]:
        """Expression → its series. Fails where one is not legal."""
        pages = [f"query?{urlencode({'query': each})}" for each in expressions]
        found = {}
        for expression, answer in zip(expressions, self.ask(pages), strict=True):
            assert answer["status"] == "success", f"{expression}: {answer}"
            found[expression] = answer["data"]["result"]
        return found

    def has_scraped(self) -> bool:
        """Whether both targets have been asked often enough for a rate over what was done."""
        (series,) = self.query(
            ["min_over_time(up[2s]) == 1 and count_over_time(up[1m]) > 4"]
        ).values()
        return len(series) == 2


@pytest.fixture(scope="module")
def prometheus(member: Agent) -> Prometheus:
    return Prometheus(member)


@pytest.fixture(scope="module")
def interval(member: Agent, prometheus: Prometheus) -> dict[str, Any]:
    """What `top` saw in one interval, in which exactly LOAD was done."""
    assert prometheus
    argv = member.argv("top", "--json", "--interval", "5s", "-n", "1")
    watching = member.lab.start(member.host, argv, "top")
    wait_until(lambda: metric(member, "interceptor_trace_listeners") == 1, "a listener", 5)
    time.sleep(0.3)  # its first look follows the beginning of the stream
    member.lab.run(member.host, ["sh", "-c", LOAD])
    assert watching.wait(15) == 0, member.lab.log(member.host, "top")
    tree = json.loads(member.lab.log(member.host, "top").splitlines()[-1])
    return cast("dict[str, Any]", tree)


def counted(interval: dict[str, Any], table: str, name: str, field: str = "rate") -> int:
    """How often something happened in the interval, by its rate."""
    (row,) = (row for row in interval[table] if row["name"] == name)
    return round(row[field] * interval["span_s"])


def test_names_are_counted_as_often_as_they_were_asked_for(interval: dict[str, Any]) -> None:
    assert counted(interval, "names", NAME) == ASKED
    (row,) = (row for row in interval["names"] if row["name"] == NAME)
    assert row["verdicts"] == {"answer": ASKED}
    assert interval["left_out"] == 0


def test_a_name_of_others_is_seen_to_pass(interval: dict[str, Any], member: Agent) -> None:
    assert counted(interval, "names", OTHER) == OTHERS, member.log()
    (row,) = (row for row in interval["names"] if row["name"] == OTHER)
    assert set(row["verdicts"]) == {"pass"}


def test_services_are_counted_as_often_as_they_were_called(interval: dict[str, Any]) -> None:
    assert counted(interval, "services", SERVICE, "requests") == CALLED
    (row,) = (row for row in interval["services"] if row["name"] == SERVICE)
    assert row["failed"] == row["errors"] == 0


def test_calls_are_counted_once_with_who_made_them(interval: dict[str, Any]) -> None:
    assert counted(interval, "calls", SERVICE) == CALLED
    (row,) = (row for row in interval["calls"] if row["name"] == SERVICE)
    assert row["verdicts"] == {"outbound": CALLED}
    assert row["callers"] == ["curl"]


def test_a_service_s_latency_is_known_once_envoy_has_counted_it(
    interval: dict[str, Any], member: Agent
) -> None:
    assert interval["services"]

    def timed() -> bool:
        done = member.run("top", "--json", "--interval", "100ms", "-n", "1", "--no-trace")
        rows = json.loads(done.stdout)["services"]
        return any(row["name"] == SERVICE and row["p50_s"] is not None for row in rows)

    wait_until(timed, "Envoy's flush of its histograms, each 5 s", 10)


def test_figures_and_decisions_agree(interval: dict[str, Any]) -> None:
    answered = [row for row in interval["queries"] if row["what"][1] == "answer"]
    assert sum(row["rate"] for row in answered) * interval["span_s"] == pytest.approx(ASKED)
    captured = [row for row in interval["connections"] if row["what"][1] == "outbound"]
    assert sum(row["rate"] for row in captured) * interval["span_s"] == pytest.approx(CALLED)
    assert {row["what"][1] for row in interval["reasons"]} >= {"answer", "pass"}


def test_the_processes_are_those_that_run(interval: dict[str, Any]) -> None:
    assert {load["name"] for load in interval["loads"]} == {"agent", "dns worker", "envoy"}
    assert all(load["resident"] > 10e6 for load in interval["loads"])


def test_nobody_listens_any_more_when_it_has_ended(interval: dict[str, Any], member: Agent) -> None:
    assert interval["seen"] >= ASKED
    listeners = "interceptor_trace_listeners"
    wait_until(lambda: metric(member, listeners) == 0, "the end of the stream", 5)


def test_to_a_pipe_it_prints_plain_text(member: Agent) -> None:
    done = member.run("top", "--batch", "-n", "2", "--interval", "300ms", "--no-trace")
    assert done.stdout.count("interceptor ") == 2
    assert "\x1b" not in done.stdout
    for words in ("ready", "hosts of files, right now", "live pid", "SERVICE", SERVICE):
        assert words in done.stdout, done.stdout


def test_ctrl_c_and_a_reader_that_has_seen_enough_end_it_quietly(member: Agent) -> None:
    words = ("top", "--batch", "--interval", "200ms", "--no-trace")
    endless = member.lab.start(member.host, member.argv(*words), "endless")
    wait_until(lambda: "SERVICE" in member.lab.log(member.host, "endless"), "output", 10)
    endless.signal(signal.SIGINT)
    assert endless.wait(5) == 0
    assert "Traceback" not in member.lab.log(member.host, "endless")
    pipe = f"{shlex.join(member.argv(*words))} | head -n 1"
    done = member.lab.run(member.host, ["sh", "-c", pipe])
    assert done.stdout.startswith("interceptor ")
    assert done.stderr == ""


def test_an_unprivileged_user_is_told_that_there_is_nothing_to_see(member: Agent) -> None:
    argv = ["setpriv", "--reuid=65534", "--clear-groups", *member.argv("top", "--once")]
    done = member.lab.run(member.host, ["env", *argv], check=False)
    assert done.code != 0
    assert "SERVICE" not in done.stdout


@contextmanager
def on_a_terminal(member: Agent, *words: str) -> Iterator[tuple[int, int]]:
    """A command on a terminal of 80x24 of its own: (the terminal's other end, the pid)."""
    argv = member.lab.argv(member.host, member.argv(*words))
    pid, end = pty.fork()
    if pid == 0:
        os.execvpe(argv[0], argv, {**environment(), "TERM": "xterm"})
    try:
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        yield end, pid
    finally:
        os.close(end)


def read_until(end: int, words: str, limit_s: float = 15) -> str:
    """What the terminal was given, until those words are among it."""
    seen, deadline_s = "", time.monotonic() + limit_s
    while words not in seen:
        left_s = deadline_s - time.monotonic()
        assert left_s > 0, f"no {words!r} in {seen[-3000:]!r}"
        if select.select([end], [], [], left_s)[0]:
            seen += os.read(end, 65536).decode(errors="replace")
    return seen


def test_on_a_terminal_keys_choose_and_q_ends_it(member: Agent) -> None:
    with on_a_terminal(member, "top", "--interval", "500ms") as (end, pid):
        before = termios.tcgetattr(end)
        first = read_until(end, "[by rate]")
        assert "interceptor" in first
        os.write(end, b"n")
        read_until(end, "[by name]")
        os.write(end, b"p")
        read_until(end, "PAUSED")
        os.write(end, b"/zzz")
        read_until(end, "filter: zzz_")
        os.write(end, b"\rq")
        rest = read_until(end, "\x1b[?1049l")
        assert "\x1b[?25h" in first + rest, "the cursor is back"
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert termios.tcgetattr(end)[3] == before[3], "it echoes again"


def test_the_page_is_to_the_liking_of_prometheus(member: Agent) -> None:
    page = member.run("metrics").stdout
    lint = command.run(["promtool", "check", "metrics"], page, check=False)
    assert (lint.code, lint.stdout + lint.stderr) == (0, "")
    assert "interceptor_ready 1.0\n" in page
    bad = command.run(["promtool", "check", "metrics"], page.replace("_total", "_sum"), check=False)
    assert bad.code != 0, "the oracle does look"


OF_MEMBERS = ("interceptor_identity", "interceptor_workload")
"""This VM has no certificate, and no service that is probed: there are no such series then."""
ABSENT = {
    "nftables": ("interceptor_lease", "interceptor_map", "interceptor_capture_decisions"),
    "ebpf": (),
}
"""What a back end does not have: figures of the programs' maps."""


def expressions() -> list[str]:
    """Every query of the dashboard, as Grafana would send it for all hosts."""
    tree = json.loads(form.render(proxy.ROWS))
    found = [target["expr"] for panel in tree["panels"] for target in panel.get("targets", ())]
    found.append(tree["annotations"]["list"][0]["expr"].removesuffix(" > 0"))
    return [text.replace("$host", ".+").replace("$__rate_interval", "30s") for text in found]


def test_every_query_of_the_dashboard_has_data(
    interval: dict[str, Any], member: Agent, prometheus: Prometheus
) -> None:
    assert interval
    member.lab.run(member.host, ["dig", "+tcp", "+short", "@10.77.0.53", NAME])
    wait_until(prometheus.has_scraped, "a few scrapes", 15)
    backend = str(member.read("status")["backend"]).partition("+")[0]
    wanted = [text for text in expressions() if not any(name in text for name in ABSENT[backend])]
    assert len(wanted) > 50
    assert not prometheus.query(["no_such_metric"])["no_such_metric"]
    with pytest.raises(AssertionError, match="parse error"):
        prometheus.query(["rate(interceptor_dns_queries_total["])

    def empty() -> list[str]:
        return [text for text, series in prometheus.query(wanted).items() if not series]

    try:
        wait_until(lambda: not empty(), "data for each query", 10)
    except LabFailed:
        pytest.fail("\n".join(empty()))


def test_every_metric_of_the_alerts_is_there_and_none_fires_of_a_healthy_agent(
    interval: dict[str, Any], member: Agent, prometheus: Prometheus
) -> None:
    assert interval
    (rules,) = prometheus.ask(["rules"])
    (group,) = rules["data"]["groups"]
    assert len(group["rules"]) == len(alert.ALERTS)
    assert {rule["health"] for rule in group["rules"]} == {"ok"}
    assert [rule["name"] for rule in group["rules"] if rule["state"] != "inactive"] == []
    names = set(re.findall(r"\b(?:interceptor|process)_[a-z_]+", alert.render(alert.ALERTS)))
    backend = str(member.read("status")["backend"]).partition("+")[0]
    absent = (*ABSENT[backend], *OF_MEMBERS)
    wanted = [name for name in names if not name.startswith(absent)]
    assert len(wanted) > 10
    assert [name for name, series in prometheus.query(wanted).items() if not series] == []


def test_prometheus_and_the_load_agree(interval: dict[str, Any], prometheus: Prometheus) -> None:
    """The oracle of our counters: Envoy's requests, and queries as often as dig asked."""
    assert interval
    requests = f'envoy_cluster_upstream_rq_total{{cluster_name=~".*{NAME}"}}'
    captured = 'interceptor_captured_connections_total{direction="outbound"}'
    found = prometheus.query([requests, captured])
    assert [series["value"][1] for series in found[requests]] == [str(CALLED)]
    assert sum(float(series["value"][1]) for series in found[captured]) == CALLED
