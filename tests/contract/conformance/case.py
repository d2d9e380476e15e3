"""What a case of the suite is, and under which configuration of the agent it runs."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.contract.conformance.stage import Stage

BACKENDS = ("iptables", "nftables", "ebpf")
Results = dict[str, dict[str, bool]]
"""Back end → case → whether it passed."""


class Group(enum.Enum):
    """Parts of the matrix."""

    DNS = "DNS: answers"
    PASSING = "DNS: what is others'"
    RESOLVER = "DNS: resolvers and sockets"
    SCOPE = "Scope"
    SOCKET = "Sockets"
    LOSS = "Losses"
    HOST = "Host"


@dataclass(frozen=True, slots=True)
class Setting:
    """A configuration of the agent, laid over the lab's; ``before`` and ``after`` are shell
    scripts on the VM, around its run."""

    name: str
    over: Mapping[str, object]
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """One row: a sentence of behaviour, and what shows it. ``run`` raises AssertionError."""

    name: str
    group: Group
    run: Callable[[Stage], None]
    setting: str = "main"


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A cell that cannot be. ``reason`` is for operators; ``symptom`` is a regular expression
    that the failure has to match, so that a cell fails for the reason it says and no other."""

    reason: str
    symptom: str
