"""The configuration: one frozen tree, and a pure `parse` that reports every problem at once.

Values come, later over earlier, from the tree's defaults, another agent's
settings (``base``), the YAML file, the environment (``INTERCEPTOR_DNS_TTL_S=60``:
group and key joined by underscores) and flags.
"""

from interceptor.config.element import Backend, Network
from interceptor.config.membership import Authority, Identity, Istiod, Probe, Workload
from interceptor.config.text import environment_keys, parse, show
from interceptor.config.tree import (
    DEFAULT_PATH,
    Agent,
    Capture,
    Config,
    Dns,
    Inbound,
    Interfaces,
    Log,
    Mesh,
    Node,
    Outbound,
    Owners,
    Sidecar,
    VipRanges,
)

__all__ = [
    "DEFAULT_PATH",
    "Agent",
    "Authority",
    "Backend",
    "Capture",
    "Config",
    "Dns",
    "Identity",
    "Inbound",
    "Interfaces",
    "Istiod",
    "Log",
    "Mesh",
    "Network",
    "Node",
    "Outbound",
    "Owners",
    "Probe",
    "Sidecar",
    "VipRanges",
    "Workload",
    "environment_keys",
    "parse",
    "show",
]
