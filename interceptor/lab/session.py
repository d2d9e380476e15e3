"""What `interceptor lab` does: labs that stay up between commands, with agents on their VMs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

from interceptor.lab import agent, removal
from interceptor.lab.agent import Agent
from interceptor.lab.removal import LabFailed, Listed
from interceptor.lab.world import Lab


def open_agents(lab: Lab, over: Mapping[str, object] | None = None) -> tuple[Agent, ...]:
    """The agents of every member of the mesh, started, all reading one copy of the documents."""
    mesh = agent.copy_mesh(lab.folder / "mesh")
    members = [host.name for host in lab.world.hosts if host.namespace]
    agents = tuple(agent.prepare(lab, name, over, mesh) for name in members)
    for one in agents:
        one.launch()
    for one in agents:
        one.wait_ready()
    return agents


def up(token: str | None = None) -> Lab:
    """Bring a lab up, agents included, and leave it. Raises LabFailed, and then nothing is left."""
    lab = Lab.open(token=token, stays_up=True)
    try:
        open_agents(lab)
    except BaseException:
        lab.close()
        raise
    return lab


def down(token: str | None = None) -> tuple[str, ...]:
    """Remove one lab; without a token all but those whose owner is at work. Returns the tokens."""
    if token is not None:
        Lab.attach(token).close()
        return (token,)
    tokens = tuple(lab.token for lab in removal.list_labs() if lab.owner == 0 or lab.is_orphan)
    for each in tokens:
        removal.down(each)
    return tokens


def list_labs() -> tuple[Listed, ...]:
    """Every lab on this machine."""
    return removal.list_labs()


def execute(host: str, argv: Sequence[str], token: str | None = None) -> NoReturn:
    """Become a program on ``host``. Raises LabFailed unless the lab is clear."""
    if token is None:
        labs = [lab.token for lab in removal.list_labs() if not lab.is_orphan]
        if len(labs) != 1:
            raise LabFailed(f"name the lab: there are {', '.join(labs) or 'none'}")
        token = labs[0]
    lab = Lab.attach(token)
    try:
        lab.world.host(host)
    except KeyError as error:
        raise LabFailed(str(error.args[0])) from error
    agent.execute(lab, host, argv)
