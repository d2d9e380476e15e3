"""What the installed rules do to a real packet is what `scope.decide` says: the kernel is asked.

For generated configurations and flows, on every back end of netfilter and in both families.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from interceptor.capture import backend, fact, joined, scope
from interceptor.capture.journal import Journal
from interceptor.capture.plan import Facts, Plan
from interceptor.config import Config
from tests.netns.scope_case import Trial, configs, expected, has_six, planned, trials

pytestmark = pytest.mark.root

CASES = {
    "nftables": backend.Choice("nftables", "nftables", "nft", True, True),
    "iptables-nft": backend.Choice("iptables", "iptables", "nft", True),
    "iptables-legacy": backend.Choice("iptables", "iptables", "legacy", False),
    "apart": backend.Choice("nftables", "iptables", "legacy", True),
}
EXAMPLES = int(os.environ.get("SCOPE_EXAMPLES", "20"))
FLOWS = 24


def observed(world: Any, trial: Trial, cgroup: str) -> str:
    owner = {"uid": trial.uid, "gid": trial.gid, "mark": trial.mark, "source": trial.source}
    if trial.in_cgroup:
        owner["cgroup"] = cgroup
    send = world.tcp if trial.protocol == "tcp" else world.udp
    return str(send(trial.where, trial.destination, trial.port, **owner))


@pytest.fixture(scope="module", params=CASES)
def installed(request: pytest.FixtureRequest, world: Any) -> Iterator[Any]:
    """One back end in the VM, and a way to install a configuration's plan by it."""
    chosen = joined.build(CASES[request.param], Journal())

    def install(config: Config) -> Plan:
        facts: Facts = world.vm.call(fact.facts, config)
        plan = planned(config, facts)
        world.vm.call(chosen.apply, plan)
        return plan

    yield install
    world.vm.call(chosen.revert)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a lost packet makes shrinking endless
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_the_kernel_does_what_scope_says(
    data: st.DataObject, world: Any, installed: Any, cgroup: str
) -> None:
    name = cgroup.rsplit("/", 1)[1]
    config = data.draw(configs(name), label="config")
    plan = installed(config)
    for trial in data.draw(st.lists(trials(), min_size=FLOWS, max_size=FLOWS), label="flows"):
        if trial.source == "::6" and not has_six(plan):
            continue  # without the plan's route for it, nothing finds its way back to ::6
        decision = scope.decide(plan, trial.flow(name))
        fate = observed(world, trial, cgroup)
        assert fate == expected(trial, decision.verdict), f"{trial}: {decision}"
