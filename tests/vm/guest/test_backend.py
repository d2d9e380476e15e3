"""The netfilter back ends on the stock kernel, by the daemon and by their contract suite."""

from __future__ import annotations

import shlex

import pytest

from interceptor.capture.attachment import FILTERS, LINKS
from tests.vm.guest import agent, bench, peer
from tests.vm.guest.machine import Machine
from tests.vm.guest.setup import Saved

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800)]

SUITE_LIMIT_S = 900
NETFILTER = "tests/contract/test_backend_contract.py::test_"
EBPF = "tests/netns/bpf/test_ebpf_backend.py::test_"
WHOLE_PLAN = (
    "the_host_shows_what_was_rendered",
    "revert_leaves_the_host_as_it_was",
    "the_rescue_script_needs_nothing_of_ours",
)
CASES = {
    **{
        choice: (
            *(f"{NETFILTER}{name}[{choice}-everything]" for name in WHOLE_PLAN),
            f"{NETFILTER}an_update_moves_new_connections_and_leaves_the_open_ones[{choice}]",
        )
        for choice in ("nftables", "iptables-nft", "iptables-legacy")
    },
    "ebpf": (
        f"{EBPF}what_is_expected_is_observed_and_twice_changes_nothing[clsact]",
        f"{EBPF}revert_leaves_the_host_as_it_was[clsact]",
        f"{EBPF}rescue_needs_no_python[clsact]",
        f"{EBPF}a_new_version_swaps_every_program_and_keeps_every_link[clsact]",
    ),
}
"""Of some 250 cases those that ask most of a kernel: the largest plan, each mechanism. All of
them take two minutes natively, and half an hour and more emulated."""


def test_nftables_queues_by_its_own_rule_whose_module_was_loaded_for_it(
    saved: Saved, machine: Machine
) -> None:
    assert "nft_queue" not in saved.record.modules_before
    agent.configure(machine, "capture: {backend: nftables}")
    rules = machine.read("nft list ruleset")
    assert "queue" in [word for line in rules.splitlines() for word in line.split()]
    assert "bypass" in rules
    assert "NFQUEUE" not in machine.read("iptables-nft-save; iptables-legacy-save")
    machine.run("lsmod | grep -w nft_queue; lsmod | grep -w nfnetlink_queue")
    assert peer.OTHER_ADDRESS in machine.read(f"getent ahostsv4 {peer.OTHER_NAME}")
    machine.run(f"systemctl stop {agent.UNIT}")
    agent.check_untouched(machine)


def test_legacy_iptables_captures_on_a_host_that_had_none_of_its_modules(machine: Machine) -> None:
    """Within the unit's confinement, which lets nobody load any. (iptables-nft has its suite.)"""
    variant, other = "legacy", "nft"
    for family in ("iptables", "ip6tables"):
        machine.run(f"update-alternatives --set {family} /usr/sbin/{family}-{variant}")
    agent.configure(machine, "capture: {backend: iptables}")
    for family in ("iptables", "ip6tables"):
        assert "INTERCEPTOR" in machine.read(f"{family}-{variant}-save")
        assert "INTERCEPTOR" not in machine.read(f"{family}-{other}-save")
    assert "NFQUEUE" in machine.read(f"iptables-{variant}-save")
    assert peer.OTHER_ADDRESS in machine.read(f"getent ahostsv4 {peer.OTHER_NAME}")
    machine.run(f"systemctl stop {agent.UNIT}")
    assert "INTERCEPTOR" not in machine.read(f"iptables-{variant}-save; ip6tables-{variant}-save")
    assert peer.NOT_THE_MESH in machine.read(agent.RESOLVE)


@pytest.mark.parametrize("choice", CASES)
def test_the_contract_suite_passes(machine: Machine, choice: str) -> None:
    machine.run(
        f"systemctl stop {agent.UNIT}\n"
        # Found by programs that tests start, too, whatever their PYTHONPATH.
        f"printf '%s\\n' {bench.SITE} /usr/lib/interceptor "
        ">/usr/local/lib/python3.11/dist-packages/bench.pth\n"
        # The programs as they are shipped: test_compiler makes them here.
        f"cd {bench.CHECKOUT}; export PYTHONDONTWRITEBYTECODE=1\n"
        "kept=/run/pytest/d/bpf/$(python3 -c "
        "'from interceptor.host import bytecode; print(bytecode.source_digest())')\n"
        f"mkdir -p $kept; for each in {' '.join((*LINKS, *FILTERS))}; do\n"
        "ln -s $PWD/interceptor/host/bytecode.json $kept/$each.json; done"
    )
    cases = CASES[choice]
    done = machine.run(
        f"cd {bench.CHECKOUT}; export PYTHONDONTWRITEBYTECODE=1\n"
        "python3 -m pytest -q --assert=plain -o cache_dir=/run/pytest -W ignore "
        f"{shlex.join(cases)}",
        timeout_s=SUITE_LIMIT_S,
        check=False,
    )
    print(done.stdout)
    assert f"{len(cases)} passed" in done.stdout, done.stderr
