"""What the ebpf programs do to a real packet is what `scope.decide` says: the kernel is asked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from interceptor.capture import backend, fact, joined, placement, scope
from interceptor.capture.ebpfstep import Sites
from interceptor.capture.joined import Joined
from interceptor.capture.journal import Journal
from interceptor.capture.plan import Facts, Plan, Plane, Verdict
from interceptor.config import Config
from interceptor.errors import Unsupported
from interceptor.host import cgroup, command, probe
from tests.netns.bpf.steered_world import SteeredWorld
from tests.netns.scope_case import Trial, configs, expected, has_six, meshes, planned, trials

pytestmark = pytest.mark.root

CASES = {
    "ebpf": backend.Choice("ebpf", "ebpf"),
    "DNS alone": backend.Choice("nftables", "ebpf", "nft"),
}
EXAMPLES = int(os.environ.get("SCOPE_EXAMPLES", "20"))
FLOWS = 24


@pytest.fixture(scope="module")
def steered(
    namespaces: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SteeredWorld]:
    """A world with pins and cgroups of its own."""
    mount = tmp_path_factory.mktemp("bpffs")
    top = Path(probe.cgroup_mount(), f"itest-{os.getpid()}-scope")
    sites = Sites(mount / "interceptor", top, top / "agent")
    command.run(["mount", "-t", "bpf", "bpf", str(mount)])
    try:
        cgroup.create(sites.agent)
        world = SteeredWorld(namespaces, sites)
        try:
            yield world
            print(f"{world.fates.total()} packets: {dict(sorted(world.fates.items()))}")
        finally:
            world.close()
    finally:
        command.run(["umount", str(mount)])
        for folder in (sites.agent, top):
            assert cgroup.remove(folder)


@pytest.fixture(scope="module", params=CASES)
def programs(request: pytest.FixtureRequest, steered: SteeredWorld) -> Iterator[Joined]:
    """The back end, whatever it has installed."""
    chosen = joined.build(CASES[request.param], Journal(), steered.sites)
    steered.publish()
    try:
        yield chosen
    finally:
        steered.vm.call(chosen.revert)


def without_gaps(config: Config) -> Config:
    """The same, of what the programs can do: their gaps are all about TCP."""
    if config.sidecar.mode == "none":
        return config
    inbound = config.capture.inbound.model_copy(update={"mode": "redirect"})
    interfaces = config.capture.interfaces.model_copy(update={"exclude": (), "bridges": ()})
    over = {"inbound": inbound, "interfaces": interfaces}
    return config.model_copy(update={"capture": config.capture.model_copy(update=over)})


def is_refused(plan: Plan, programs: Joined) -> bool:
    """Whether there is a gap in the programs' share of the plan."""
    share = plan if programs.name == "ebpf" else plan.only(Plane.DNS)
    return any(gap.is_whole and not gap.is_apart for gap in placement.gaps(share))


def is_looked_at(plan: Plan, trial: Trial) -> bool:
    """Rule 3 is fixed in the programs: without a sidecar, whose it is, nobody has that address.
    Without the plan's route for it, nothing finds its way back to ::6."""
    if trial.mark == plan.steering.tproxy_mark and plan.steering.tproxy:
        return False  # that mark is Envoy's, whom the programs know by its owner
    if not trial.source:
        return True
    through = 3 in {rule.number for rule in plan.rules}
    return through and (trial.source != "::6" or has_six(plan))


def verdict(plan: Plan, trial: Trial, name: str) -> Verdict:
    """`scope`'s, but for DNS over TCP where that has to be asked for by the back end's name."""
    found = scope.decide(plan, trial.flow(name)).verdict
    if (trial.protocol, found) == ("tcp", Verdict.DNS):
        lacking = [gap.what for gap in placement.gaps(plan) if gap.plane is Plane.DNS]
        whose = "DNS over TCP of containers" if trial.where == "box" else "DNS over TCP, beside"
        if any(gap.startswith(whose) for gap in lacking):
            return Verdict.PASS
    return found


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a lost packet makes shrinking endless
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_the_programs_do_what_scope_says(
    data: st.DataObject, steered: SteeredWorld, programs: Joined
) -> None:
    name = str(steered.sub.relative_to(probe.cgroup_mount()))
    config = data.draw(configs(name), label="config")
    if programs.name == "ebpf" and data.draw(st.integers(0, 9), label="gaps"):
        config = without_gaps(config)
    facts: Facts = steered.vm.call(fact.facts, config)
    plan = planned(config, facts)
    if is_refused(plan, programs):
        with pytest.raises(Unsupported):
            steered.vm.call(programs.apply, plan)
        return
    steered.vm.call(programs.apply, plan)
    mesh = data.draw(st.none() | meshes(), label="another mesh")
    if mesh is not None:
        steered.vm.call(programs.update, mesh)
        plan = plan.exchange(mesh)
    for trial in data.draw(
        st.lists(trials(dual=True), min_size=FLOWS, max_size=FLOWS), label="flows"
    ):
        if is_looked_at(plan, trial):
            wanted = expected(trial, verdict(plan, trial, name))
            assert steered.send(trial) == wanted, trial
