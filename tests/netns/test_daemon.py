"""The daemon's life on a host of the lab: confirmed, kept, adopted, repaired, refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import pytest

from interceptor.lab import agent as lab_agent
from interceptor.lab import snapshot
from interceptor.lab.agent import Agent
from interceptor.lab.removal import wait_until
from interceptor.lab.world import Lab

pytestmark = [pytest.mark.root, pytest.mark.envoy]

NAME = "reviews.bookinfo.svc.cluster.local"
SERVER = "@10.77.0.53"
URL = f"http://{NAME}:9080/"


@pytest.fixture(params=["nftables", "ebpf"])
def backend(request: pytest.FixtureRequest) -> str:
    assert isinstance(request.param, str)
    return request.param


def member(lab: Lab, backend: str = "auto", **over: object) -> Agent:
    return lab_agent.prepare(lab, "vm", {"capture": {"backend": backend}, **over})


def member_again(lab: Lab, backend: str) -> Agent:
    """The same host with another configuration over the same documents."""
    mesh = lab.host_folder("vm") / "mesh"
    return lab_agent.prepare(lab, "vm", {"capture": {"backend": backend}}, mesh)


def dig(agent: Agent, name: str = NAME) -> str:
    argv = ["dig", "+short", "+tries=1", "+time=1", SERVER, name]
    return agent.lab.run(agent.host, argv, check=False).stdout.strip()


def curl(agent: Agent) -> bool:
    argv = ["curl", "--silent", "--fail", "--max-time", "3", URL]
    return bool(agent.lab.run(agent.host, argv, check=False))


def sidecar_pid(agent: Agent) -> object:
    return cast("dict[str, object]", agent.read("status")["sidecar"])["pid"]


def test_without_a_confirmation_everything_is_taken_back(lab: Lab, backend: str) -> None:
    before = snapshot.observe(lab, "vm")
    agent = member(lab, backend)
    agent.start("--confirm", "1s")
    assert agent.process is not None
    assert agent.process.wait(15) == 1, agent.log()
    assert snapshot.diff(before, snapshot.observe(lab, "vm")) == ""
    assert "not confirmed" in agent.log()


def test_a_confirmation_in_time_keeps_it(lab: Lab) -> None:
    agent = member(lab)
    agent.start("--confirm", "3s")
    assert agent.run("confirm").stdout == "confirmed\n"
    assert agent.process is not None
    assert agent.process.wait(4) is None
    assert curl(agent)
    assert agent.stop() == 0


def test_on_exit_keep_leaves_rules_and_envoy_and_the_next_daemon_adopts_them(
    lab: Lab, backend: str
) -> None:
    agent = member(lab, backend, agent={"on_exit": "keep"})
    agent.start()
    pid = sidecar_pid(agent)
    held = lab.run("vm", ["sh", "-c", f"curl -s --max-time 3 {URL}"]).stdout
    assert held
    assert agent.stop() == 0
    argv = ["dig", "+short", SERVER, "www.corp.example"]
    assert lab.run("vm", argv).stdout == "10.77.0.61\n", "other names need nobody"
    # The kernel goes on by itself; without it the worker is away, and the upstream knows no mesh.
    assert dig(agent) == ("10.96.0.11" if backend == "ebpf" else "")
    connect = ["curl", "--silent", "--max-time", "3", "http://10.96.0.11:9080/"]
    assert lab.run("vm", connect).stdout, "connections go on through the sidecar"
    agent.start()
    status = agent.read("status")
    assert cast("dict[str, object]", status["sidecar"])["adopted"] is True
    assert sidecar_pid(agent) == pid
    assert curl(agent)
    agent.stop()
    agent.run("clean")


def test_a_killed_daemon_is_followed_by_one_that_adopts_envoy(lab: Lab) -> None:
    agent = member(lab)
    agent.start()
    pid = sidecar_pid(agent)
    agent.kill()
    agent.start()
    assert sidecar_pid(agent) == pid
    assert curl(agent)
    agent.stop()


def test_a_second_daemon_is_refused_and_harms_nothing(lab: Lab) -> None:
    agent = member(lab)
    agent.start()
    second = agent.run("run", check=False)
    assert second.code == 1
    assert "another daemon runs" in second.stderr
    assert curl(agent)
    assert agent.stop() == 0


def test_clean_is_refused_while_the_daemon_runs(lab: Lab) -> None:
    agent = member(lab)
    agent.start()
    done = agent.run("clean", check=False)
    assert (done.code, "the daemon runs" in done.stderr) == (1, True)
    assert curl(agent)
    agent.stop()


def test_rules_that_somebody_flushes_are_put_back(lab: Lab) -> None:
    agent = member(lab, "nftables")
    agent.start()
    lab.run("vm", ["nft", "flush", "ruleset"])
    wait_until(lambda: curl(agent), "capture after a flush", 4)
    assert dig(agent) == "10.96.0.11"
    status = agent.read("status")
    assert status["drift"] is False
    assert cast("dict[str, int]", status["reasserted"])["rules"] >= 1
    agent.stop()


def test_legacy_rules_that_somebody_flushes_are_put_back(lab: Lab) -> None:
    # Somebody's rule there is what makes us take the legacy variant.
    lab.run("vm", ["iptables-legacy", "-A", "INPUT", "-p", "tcp", "--dport", "2222", "-j", "DROP"])
    agent = member(lab, "iptables")
    agent.start()
    assert "variant=legacy" in json.dumps(agent.read("status"))
    assert curl(agent)
    lab.run("vm", ["iptables-legacy", "-t", "nat", "-F"])
    wait_until(lambda: curl(agent), "capture after a flush", 6)
    agent.stop()


def test_a_route_that_somebody_removes_is_put_back(lab: Lab) -> None:
    agent = member(lab)
    agent.start()
    route = ["ip", "-6", "route", "show", "table", "local", "::6"]
    assert "proto 157" in lab.run("vm", route).stdout
    lab.run("vm", ["ip", "-6", "route", "del", "local", "::6", "dev", "lo"])
    wait_until(lambda: "proto 157" in lab.run("vm", route).stdout, "our route", 3)
    agent.stop()


def test_the_search_list_is_followed(lab: Lab) -> None:
    agent = member(lab)
    agent.start()
    assert dig(agent, f"{NAME}.new.example") == ""
    resolv_conf = Path(f"/etc/netns/{lab.namespace('vm')}/resolv.conf")
    resolv_conf.write_text("nameserver 10.77.0.53\nsearch new.example\n")
    wait_until(lambda: "10.96.0.11" in dig(agent, f"{NAME}.new.example"), "new search list", 5)
    agent.stop()


def test_the_plan_is_what_is_installed(lab: Lab, backend: str) -> None:
    agent = member(lab, backend)
    bare = agent.run("plan", "--diff", check=False)
    assert bare.code == 4
    assert "+" in bare.stdout
    agent.start()
    same = agent.run("plan", "--diff", check=False)
    assert (same.code, same.stdout) == (0, "the host is as the plan says\n")
    tree = json.loads(agent.run("plan", "--format", "json").stdout)
    assert tree["backend"].startswith(backend)
    assert {rule["number"] for rule in tree["rules"]} >= {2, 3, 5, 6, 7, 9}
    agent.stop()


def test_apply_and_clean_without_the_daemon(lab: Lab, backend: str) -> None:
    before = snapshot.observe(lab, "vm")
    agent = member(lab, backend)
    agent.run("apply")
    assert agent.run("plan", "--diff", check=False).code == 0
    agent.run("apply")
    assert agent.run("plan", "--diff", check=False).code == 0, "twice changes nothing"
    assert dig(agent, "www.corp.example") == "10.77.0.61"
    agent.run("clean")
    assert snapshot.diff(before, snapshot.observe(lab, "vm")) == ""


@pytest.mark.parametrize(("first", "second"), [("nftables", "iptables"), ("iptables", "nftables")])
def test_another_back_end_leaves_nothing_of_the_one_before(
    lab: Lab, first: str, second: str
) -> None:
    before = snapshot.observe(lab, "vm")
    member(lab, first).run("apply")
    agent = member_again(lab, second)
    agent.start()
    assert curl(agent)
    # nftables has its queue rule from iptables here, and takes over what iptables had.
    swept = agent.log().count("rules of an earlier configuration are removed")
    assert swept == (1 if first == "nftables" else 0)
    text = "".join(snapshot.observe(lab, "vm").values())
    assert ("inet interceptor" in text) is (second == "nftables")
    assert ("INTERCEPTOR_OUTPUT" in text) is (second == "iptables")
    assert agent.stop() == 0
    assert snapshot.diff(before, snapshot.observe(lab, "vm")) == ""


def test_dns_alone_where_no_sidecar_is_wanted(lab: Lab, backend: str) -> None:
    agent = member(lab, backend, sidecar={"mode": "none"})
    agent.start()
    assert dig(agent) == "10.96.0.11"
    assert cast("dict[str, object]", agent.read("status")["capture"])["planes"] == ["dns"]
    assert agent.stop() == 0


def test_metrics_count_what_was_answered(lab: Lab, backend: str) -> None:
    agent = member(lab, backend)
    agent.start()
    for _ in range(3):
        dig(agent)
    fetch = ["curl", "--silent", "http://127.0.0.1:15020/metrics"]
    plane = "ebpf" if backend == "ebpf" else "nfqueue"
    wanted = f'interceptor_dns_queries_total{{plane="{plane}",qtype="A",result="answer"}} 3.0'

    def counted() -> bool:
        return wanted in lab.run("vm", fetch).stdout

    wait_until(counted, "three answers in the metrics", 3)
    assert "interceptor_table_hosts" in lab.run("vm", fetch).stdout
    agent.stop()


def test_captured_connections_are_counted(lab: Lab, backend: str) -> None:
    agent = member(lab, backend)
    agent.start()
    for _ in range(4):
        assert curl(agent)
    text = lab.run("vm", ["curl", "--silent", "http://127.0.0.1:15020/metrics"]).stdout
    line = f'interceptor_captured_connections_total{{direction="outbound",plane="{backend}"}} 4.0'
    assert line in text
    agent.stop()


def test_the_debug_page_is_not_for_everybody(lab: Lab) -> None:
    agent = member(lab)
    agent.start()
    page = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}"]
    page.append("http://127.0.0.1:15020/debug/ndsz")
    assert lab.run("vm", page).stdout == "200"
    assert lab.run("vm", ["setpriv", "--reuid=65534", *page]).stdout == "403"
    agent.stop()
