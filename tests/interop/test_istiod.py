"""A member of a real istiod's mesh: names, calls, losses, registration, identity."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from interceptor.lab import caller
from interceptor.lab.removal import wait_until
from tests.interop import document
from tests.interop.conftest import Site

pytestmark = [pytest.mark.root, pytest.mark.envoy, pytest.mark.slow]

V1, V2 = "10.77.0.41", "10.77.0.42"
LOAD_S = 45
ENTRIES = "/apis/networking.istio.io/v1/namespaces/vm/workloadentries"


@pytest.fixture(scope="module")
def member(site: Site) -> Iterator[Site]:
    """The agent runs, as a workload of the group."""
    site.plane.apply(document.GROUP)
    site.plane.apply(document.MYSQL)
    (site.lab.host_folder("vm") / "fit").touch()
    site.agent.start(timeout_s=60)
    try:
        yield site
    finally:
        site.agent.stop()


def resolves(site: Site, name: str, address: str) -> float:
    """Until the name is answered so; seconds."""
    since = time.monotonic()
    ask = f"dig +short +tries=1 +time=1 {name}"
    wait_until(lambda: site.sh(ask) == address, f"{name} at {address}", 20, 0.02)
    return time.monotonic() - since


def test_a_service_entry_is_answered_within_two_seconds_and_called_through_envoy(
    member: Site,
) -> None:
    took_s = []
    for number in range(5):
        name, address = f"s{number}.bookinfo.example", f"240.240.3.{number + 1}"
        assert member.sh(f"dig +short {name}") == ""
        member.plane.apply(document.entry(f"s{number}", name, address, [V1]))
        took_s.append(resolves(member, name, address))
        ask = f"curl -sS -m 5 http://{name}:9080/"
        wait_until(lambda ask=ask: "reviews-v1" in member.sh(ask), ask, 10)  # type: ignore[misc]
    print(f"\nfrom the API to the answer: {[round(each, 2) for each in took_s]} s")
    assert max(took_s) < 2
    admin = member.lab.host_folder("vm") / "run/sidecar/admin/sock"
    clusters = member.sh(f"curl -sS --unix-socket {admin} http://envoy/config_dump")
    assert "outbound|9080||s4.bookinfo.example" in clusters


def test_endpoints_istiod_and_the_agent_come_and_go_and_nothing_fails(member: Site) -> None:
    name, address = "steady.bookinfo.example", "240.240.4.1"
    member.plane.apply(document.entry("steady", name, address, [V1]))
    resolves(member, name, address)
    url = f"http://{name}:9080/"
    wait_until(lambda: "reviews-v1" in member.sh(f"curl -sS -m 5 {url}"), "the first call", 10)
    argv = [sys.executable, "-m", caller.__name__, url, str(LOAD_S)]
    load = member.lab.start("vm", argv, "load")
    watch = f"end=$(($(date +%s) + {LOAD_S})); while [ $(date +%s) -lt $end ]; do "
    watch += f"dig +short +tries=1 +time=2 {name} | paste -sd,; sleep 0.05; done"
    names = member.lab.start("vm", ["sh", "-c", watch], "names")
    time.sleep(2)
    member.plane.apply(document.entry("steady", name, address, [V2]))
    time.sleep(4)
    member.plane.end_istiod()
    time.sleep(4)
    member.agent.kill()
    member.agent.start(timeout_s=60)
    time.sleep(2)
    member.plane.start_istiod()
    time.sleep(4)
    member.plane.apply(document.entry("steady", name, address, [V1, V2]))
    load.wait(LOAD_S + 20)
    names.wait(20)
    calls = caller.decode(member.lab.log("vm", "load"))
    answers = member.lab.log("vm", "names").split("\n")[:-1]
    print(f"\n{len(calls)} calls, {len(caller.failures(calls))} failed; {len(answers)} lookups")
    assert len(calls) > 1000
    assert caller.failures(calls) == ()
    assert len(answers) > 100
    assert set(answers) == {address}
    assert {call.answer.split()[0] for call in calls[-50:]} == {"reviews-v1", "reviews-v2"}


def healthy(site: Site) -> str:
    """What istiod has written of the VM's health; empty where nothing."""
    entries = site.plane.read(ENTRIES)["items"]
    conditions = entries[0].get("status", {}).get("conditions", []) if entries else []
    return next((each["status"] for each in conditions if each["type"] == "Healthy"), "")


def test_the_vm_registers_itself_and_tells_its_health(member: Site) -> None:
    fit = member.lab.host_folder("vm") / "fit"
    condition = partial(healthy, member)
    wait_until(lambda: condition() == "True", "healthy in istiod", 30)
    entry = member.plane.read(ENTRIES)["items"][0]
    assert entry["metadata"]["name"] == "mysql-10.77.0.10"
    assert entry["spec"]["address"] == "10.77.0.10"
    assert entry["spec"]["labels"]["app"] == "mysql"
    fit.unlink()
    wait_until(lambda: condition() == "False", "unhealthy in istiod", 30)
    fit.touch()
    wait_until(lambda: condition() == "True", "healthy again", 30)


def test_the_certificate_is_istiods_and_says_who_we_are(member: Site) -> None:
    status = member.agent.read("status")
    print(json.dumps(status.get("identity"), indent=1))
    assert "spiffe://cluster.local/ns/vm/sa/default" in json.dumps(status["identity"])
    root = member.lab.host_folder("vm") / "root-cert.pem"
    chain = member.lab.host_folder("vm") / "out/cert-chain.pem"
    assert chain.stat().st_mode & 0o777 == 0o600
    told = member.sh(f"openssl verify -CAfile {root} -untrusted {chain} {chain}")
    assert told.endswith("OK"), told
    names = member.sh(f"openssl x509 -in {chain} -noout -ext subjectAltName")
    assert "URI:spiffe://cluster.local/ns/vm/sa/default" in names


def test_a_vm_that_is_stopped_is_unfit_long_before_its_entry_goes(member: Site) -> None:
    """By itself istiod lets an entry stand for ten seconds after the last stream."""
    wait_until(lambda: healthy(member) == "True", "healthy in istiod", 30)
    since = time.monotonic()
    stopping = threading.Thread(target=member.agent.stop)
    stopping.start()
    try:
        wait_until(lambda: healthy(member) == "False", "unhealthy in istiod", 5)
        print(f"unhealthy after {time.monotonic() - since:.2f} s")
        assert member.plane.read(ENTRIES)["items"]
    finally:
        stopping.join()
    # Where istiod's own change of the entry meets another, its sweep takes it: each ten periods of
    # grace (periodicWorkloadEntryCleanup in pilot/pkg/autoregistration/controller.go).
    wait_until(lambda: not member.plane.read(ENTRIES)["items"], "its entry's end", 130)
