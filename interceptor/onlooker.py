"""Who besides the DNS worker tells of a daemon's decisions: the kernel's and the sidecar's."""

from __future__ import annotations

from interceptor import assembly
from interceptor.capture.plan import Plan, Plane
from interceptor.debug.event import Sink, Source
from interceptor.debug.flows import Flows
from interceptor.debug.judging import View
from interceptor.debug.knowledge import Knowledge
from interceptor.debug.netfilter import Netfilter
from interceptor.debug.outcome import Outcome
from interceptor.debug.ring import Ring
from interceptor.host import routechoice
from interceptor.host.process import Finder
from interceptor.mesh.model import Address
from interceptor.running import Running, has_programs
from interceptor.sidecar.setting import access_log_path


class Memory:
    """Gives back what was worked out for listeners: a `Source` that tells nothing."""

    left_out = 0

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge

    async def open(self, sink: Sink) -> None:
        """Nothing to begin."""

    async def close(self) -> None:
        self._knowledge.forget()


def sources(daemon: Running) -> list[Source]:
    """Those that fit the back ends of a daemon; nothing is opened."""
    config, choice = daemon.config, daemon.choice
    knowledge = Knowledge(lambda: daemon.table, lambda: assembly.locale(config))
    view = View(lambda: _plan(daemon), knowledge.host, _device, knowledge.resolve)
    finder, flows = Finder(), Flows()
    found: list[Source] = [Memory(knowledge)]
    if has_programs(daemon):
        found.append(Ring(config.capture.bpf_dir, view, finder, flows))
    if choice.tcp != "ebpf" and config.capture.enabled and config.sidecar.mode != "none":
        found.append(Netfilter(view, finder, flows))
    if config.sidecar.mode == "managed":
        found.append(Outcome(access_log_path(config), flows))
    return found


def _plan(daemon: Running) -> Plan | None:
    """What is installed; None where it has nothing to say of connections."""
    plan = daemon.guard.plan
    return plan if plan is not None and Plane.TCP in plan.planes else None


def _device(address: Address) -> str:
    return routechoice.observe(address).device
