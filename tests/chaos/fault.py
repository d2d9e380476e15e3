"""Every kind of fault, and who does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.chaos import agentfault, hostfault, meshfault
from tests.chaos.schedule import Kind, Step
from tests.chaos.stage import Stage, Undo

FAULTS: Mapping[Kind, Callable[[Stage, Step], Undo | None]] = {
    Kind.AGENT_KILL: agentfault.agent_kill,
    Kind.AGENT_STOP: agentfault.agent_stop,
    Kind.UPGRADE: agentfault.upgrade,
    Kind.DAEMON_KILL: agentfault.daemon_kill,
    Kind.DAEMON_HANG: agentfault.daemon_hang,
    Kind.WORKER_KILL: agentfault.worker_kill,
    Kind.WORKER_HANG: agentfault.worker_hang,
    Kind.SIDECAR_KILL: agentfault.sidecar_kill,
    Kind.SIDECAR_HANG: agentfault.sidecar_hang,
    Kind.ENDPOINTS: meshfault.endpoints,
    Kind.HOST_GONE: meshfault.host_gone,
    Kind.HOST_MOVED: meshfault.host_moved,
    Kind.WRONG_DOCUMENT: meshfault.wrong_document,
    Kind.NO_DOCUMENTS: meshfault.no_documents,
    Kind.LINK_DOWN: hostfault.link_down,
    Kind.NO_CARRIER: hostfault.no_carrier,
    Kind.ADDRESS: hostfault.address,
    Kind.DEVICE: hostfault.device,
    Kind.UPLINK: hostfault.uplink,
    Kind.FLUSH: hostfault.flush,
    Kind.FIREWALL: hostfault.flush,
    Kind.RESOLVER_RESTART: hostfault.resolver_restart,
    Kind.RESOLV_CONF: hostfault.resolv_conf,
    Kind.DISK_FULL: agentfault.disk_full,
    Kind.DESCRIPTORS: agentfault.descriptors,
}
"""All but CLEAN, which is the run's own doing."""


def begin(stage: Stage, step: Step) -> Undo | None:
    """Do it. Returns how it is undone, where it lasts; raises NoVictim."""
    return FAULTS[step.kind](stage, step)
