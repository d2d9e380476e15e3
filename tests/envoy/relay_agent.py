"""The sidecar's part of an agent, a process of its own: gRPC's threads stay in the network
namespace that they began in. Run as `python -m tests.envoy.relay_agent CONFIG NODE LIVE_S`.

A line of stdin is an order (status, leave, close), a line of stdout its answer in JSON.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from interceptor.config import parse
from interceptor.host.controlplane import Target
from interceptor.mesh.table import MeshTable
from interceptor.sidecar import bootstrap, managed, setting
from interceptor.sidecar.managed import Belonging, Managed
from interceptor.sidecar.way import Way


def tell(sidecar: Managed) -> str:
    """How it is."""
    status = sidecar.feed.status()
    tree: dict[str, Any] = dataclasses.asdict(status)
    tree["counts"] = {f"{what} {kind}": count for (what, kind), count in status.counts.items()}
    process = sidecar.process
    more = {"state": process.state.value, "pid": process.pid, "adopted": process.was_adopted}
    return json.dumps(tree | more)


async def run(config_file: str, node_id: str, live_s: str) -> None:
    managed.RELAYED_LIVE_S = float(live_s)
    config = parse(Path(config_file).read_text())
    node = bootstrap.Node(node_id, "web.shop", metadata={"NAMESPACE": "shop"})
    belonging = Belonging(node, None, Way(Target.choose(config)))
    made = Managed(config, setting.choose(config), belonging, lambda state: None)
    await made.open(MeshTable())
    print(tell(made), flush=True)
    while (order := (await asyncio.to_thread(sys.stdin.readline)).strip()) == "status":
        print(tell(made), flush=True)
    await made.close(None if order == "leave" else 0)
    print(json.dumps("over"), flush=True)


if __name__ == "__main__":
    asyncio.run(run(*sys.argv[1:]))
