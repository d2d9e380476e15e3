"""interceptor.service under real systemd: start, stop, kill, hang, restart, boot, confinement."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from interceptor.host import command
from interceptor.lab import caller, snapshot
from interceptor.lab.removal import wait_until
from interceptor.lab.world import environment
from tests.systemd import load, neighbour
from tests.systemd.machine import HOST, UNIT, Image, Machine

pytestmark = [pytest.mark.root, pytest.mark.envoy, pytest.mark.timeout(900)]
Boot = Callable[[Image], Machine]

BACKENDS = ("iptables", "nftables", "ebpf")
WORST_EXPOSURE = 4.7  # of systemd-analyze security: network rules are an exposure
HANG_S = 5.0  # design §7
URL = f"http://{load.MESH}:9080/"


@pytest.fixture(params=BACKENDS)
def each(request: pytest.FixtureRequest, image: Image, boot: Boot) -> Machine:
    return open_with(request.param, image, boot)


@pytest.fixture
def plain(image: Image, boot: Boot) -> Machine:
    return open_with("nftables", image, boot)


def open_with(backend: str, image: Image, boot: Boot) -> Machine:
    machine = boot(replace(image, settings={"capture": {"backend": backend}}))
    load.open_control(machine)
    return machine


def envoy(machine: Machine) -> int:
    return int(machine.sh("pidof envoy"))


@contextmanager
def calling(machine: Machine) -> Iterator[Callable[[], tuple[caller.Call, ...]]]:
    """One connection from in the machine to a mesh service, in use all the time. Gives a
    function that gives the calls so far."""
    out = machine.lab.host_folder(HOST) / "calls"
    argv = [sys.executable, "-m", caller.__name__, URL, "300", "keep"]
    with out.open("wb") as file:
        child = command.start(machine.outside(argv), stdout=file, env=environment())

    def made() -> tuple[caller.Call, ...]:
        return caller.decode(out.read_text())

    try:
        wait_until(lambda: len(made()) > 10, "the first calls")
        yield made
    finally:
        child.stop()


def assert_unbroken(made: tuple[caller.Call, ...], asked: load.Load) -> None:
    """No call of the connection failed, and no query for other names was lost, or answered
    by us."""
    print(f"{len(made)} calls over one connection, {asked.asked(load.OTHER)} queries")
    assert not caller.failures(made)
    assert asked.asked(load.OTHER) > 15
    assert (asked.lost(), asked.lost_to_others(), asked.wrong()) == ([], 0, [])


def await_work(machine: Machine) -> None:
    wait_until(lambda: not neighbour.failures(machine), "mesh and other names", 10)


def test_it_is_active_only_when_rules_and_table_are_in_and_a_stop_leaves_nothing(
    each: Machine,
) -> None:
    before = neighbour.rules(each)
    each.systemctl("start", "--no-block", UNIT)
    states = []
    while not states or states[-1] in ("activating", "inactive"):
        states.append(each.properties(UNIT, "ActiveState")["ActiveState"])
    assert not neighbour.failures(each), "active, and it does not work yet"
    assert "activating" in states
    assert neighbour.rules(each) != before
    assert "hosts" in each.properties(UNIT, "StatusText")["StatusText"]

    each.stop()
    assert not snapshot.diff(before, neighbour.rules(each))
    assert not each.sh("pidof envoy; ls -d /run/interceptor 2>/dev/null", check=False)
    assert each.sh("stat -c %a /var/lib/interceptor").strip() == "700"


def test_a_killed_daemon_comes_back_and_no_connection_notices(each: Machine) -> None:
    each.start()
    sidecar = envoy(each)
    with calling(each) as calls:
        with load.applied(each) as asked:
            each.systemctl("kill", "--kill-who=main", "--signal=KILL", UNIT)
            wait_until(lambda: is_restarted(each, 1), "the restart", 20)
        await_work(each)
        made = calls()
    assert not asked.wrong()
    assert not caller.failures(made)
    assert envoy(each) == sidecar
    assert "adopted envoy" in each.journal()


def is_restarted(machine: Machine, times: int) -> bool:
    found = machine.properties(UNIT, "NRestarts", "ActiveState")
    return found == {"NRestarts": str(times), "ActiveState": "active"}


def away_s(asked: load.Load) -> float:
    """The longest time in which queries for the other name had no answer."""
    longest, began = 0.0, None
    for when, name, what in asked.events:
        if name == load.OTHER:
            began = None if what == load.OTHER_ADDRESS else when if began is None else began
            longest = max(longest, when - (when if began is None else began))
    return longest


def test_a_daemon_that_hangs_costs_other_names_less_than_five_seconds(plain: Machine) -> None:
    plain.start()
    sidecar = envoy(plain)
    with load.applied(plain) as asked:
        time.sleep(0.5)
        # The worker too: its queue is what every query waits in.
        stopped = plain.sh(
            "pids=$(pgrep -f '^/usr/bin/python3.*interceptor'); kill -STOP $pids; echo $pids"
        )
        began = time.monotonic()
        wait_until(lambda: is_restarted(plain, 1), "the watchdog", 30)
    assert len(stopped.split()) >= 2
    longest = away_s(asked)
    print(f"other names were away for {longest:.2f} s, active again {time.monotonic() - began:.2f}")
    assert 0.5 < longest < HANG_S
    assert envoy(plain) == sidecar
    assert "Watchdog timeout" in plain.journal()
    await_work(plain)


def test_a_restart_loses_no_connection_and_no_query_for_other_names(each: Machine) -> None:
    each.start()
    sidecar, daemon = envoy(each), each.pid_of()
    with calling(each) as calls:
        with load.applied(each) as asked:
            each.systemctl("restart", UNIT)
        assert not neighbour.failures(each)
        made = calls()
    assert_unbroken(made, asked)
    assert envoy(each) == sidecar
    assert each.pid_of() != daemon
    each.stop()
    assert not each.sh("pidof envoy", check=False)


def test_a_wrong_configuration_is_told_in_the_journal_and_leaves_the_host_alone(
    plain: Machine,
) -> None:
    before = neighbour.rules(plain)
    plain.write("/etc/interceptor/interceptor.yaml", "capture: {backend: magic, mark: none}\n")
    assert plain.run(["systemctl", "start", UNIT], check=False).code != 0
    time.sleep(1.5)  # longer than the pause before a restart
    told = plain.properties(UNIT, "ActiveState", "ExecMainStatus", "NRestarts")
    assert told == {"ActiveState": "failed", "ExecMainStatus": "2", "NRestarts": "0"}
    assert "capture.backend" in plain.journal()
    assert "capture.mark" in plain.journal()
    assert not snapshot.diff(before, neighbour.rules(plain))


APPLICATION = f"""
[Unit]
Wants=network-online.target
After=network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=curl --silent --fail --max-time 3 {URL}
[Install]
WantedBy=multi-user.target
"""


def test_at_boot_capture_is_there_before_what_waits_for_the_network(
    image: Image, boot: Boot
) -> None:
    files = {**image.files, "/usr/lib/systemd/system/application.service": APPLICATION}
    links = {path: link for path, link in image.links.items() if not path.endswith(UNIT)}
    settings = {"capture": {"backend": "nftables"}}
    ready = replace(image, files=files, links=links, settings=settings)
    machine = boot(ready.enabled("application.service"))
    machine.systemctl("start", "application.service")  # waits for the job of the boot
    assert "reviews-v" in machine.journal("application.service")
    assert machine.properties(UNIT, "ActiveState")["ActiveState"] == "active"


def test_the_journal_has_priorities_and_fields(plain: Machine) -> None:
    plain.start()
    plain.sh("kill -KILL $(pidof envoy)")
    wait_until(lambda: "ended with" in plain.journal(), "the loss in the journal")
    one = plain.sh("journalctl --output=json INTERCEPTOR_EVENT=ready")
    record = json.loads(one.splitlines()[-1])
    assert (record["PRIORITY"], record["INTERCEPTOR_HOSTS"]) == ("6", "10")
    assert record["SYSLOG_IDENTIFIER"] == "interceptor"
    assert record["_SYSTEMD_UNIT"] == UNIT
    errors = plain.sh(f"journalctl --unit={UNIT} --priority=err --output=cat")
    assert errors.startswith("envoy, pid ")
    assert "ready" not in errors


TRY = """
try() {
    name=$1
    shift
    if "$@" >/dev/null 2>&1; then echo "$name: allowed"; else echo "$name: no"; fi
}
try etc touch /etc/interceptor-was-here
try usr touch /usr/interceptor-was-here
try home ls /home/somebody
try sysctl sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
try mount mount -t tmpfs none /run/interceptor
try namespaces unshare --mount true
try modules modprobe dummy
try devices mknod /run/interceptor/null c 1 3
try log dmesg
try clock date --set=now
try state touch /var/lib/interceptor/here
try run touch /run/interceptor/here
"""
ALLOWED = {"state", "run"}


def test_the_confinement_holds_and_envoy_has_no_capability(plain: Machine) -> None:
    plain.sh("mkdir -p /etc/systemd/system/interceptor.service.d /home/somebody")
    plain.write("/root/try", TRY)
    plain.sh("cp /root/try /usr/local/bin/try")
    drop = "[Service]\nExecStartPost=/bin/sh /usr/local/bin/try\n"
    plain.write("/etc/systemd/system/interceptor.service.d/try.conf", drop)
    plain.systemctl("daemon-reload")
    plain.start()
    said = dict(re.findall(r": (\w+): (allowed|no)$", plain.journal(), re.MULTILINE))
    assert {name for name, verdict in said.items() if verdict == "allowed"} == ALLOWED
    assert len(said) == TRY.count("\ntry ")
    assert not plain.sh("ls /etc/interceptor-was-here 2>/dev/null", check=False)
    status = plain.sh("cat /proc/$(pidof envoy)/status")
    for line in ("CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "Uid:\t1337"):
        assert line in status


def test_systemd_has_nothing_against_the_unit_and_its_exposure_is_what_it_was(
    plain: Machine,
) -> None:
    # It asks for the working directory, and that of a command from outside is not in here.
    verify = ["env", "--chdir=/", "systemd-analyze", "verify", "--man=no", UNIT]
    said = plain.run(verify, check=False)
    assert (said.code, said.stdout, said.stderr) == (0, "", "")
    table = plain.sh(f"systemd-analyze security --no-pager {UNIT}", check=False)
    print(table)
    found = re.search(r"Overall exposure level for interceptor.service: ([\d.]+)", table)
    assert found is not None
    assert float(found[1]) <= WORST_EXPOSURE
