"""What a fuzz target is, and every one of them by its name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

CORPUS = Path(__file__).with_name("corpus")


@dataclass(frozen=True, slots=True)
class Target:
    """``run`` takes any bytes; whatever it raises is a finding.

    ``seeds`` are where a fuzzer without a corpus begins. ``instrumented`` are the modules whose
    coverage leads it. ``is_kernel``: needs root, and goes by what the kernel counts.
    """

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    instrumented: tuple[str, ...]
    is_kernel: bool = False


MODULES = {
    "message": "dns_target",
    "packet": "dns_target",
    "stream": "tcp_target",
    "documents": "mesh_target",
    "nametable": "mesh_target",
    "state": "mesh_target",
    "config": "config_target",
    "istio": "config_target",
    "journal": "host_target",
    "text": "host_target",
    "worker": "host_target",
    "xds": "xds_target",
    "names": "controlplane_target",
    "relay": "controlplane_target",
    "issued": "controlplane_target",
    "secrets": "identity_target",
    "foreign": "identity_target",
    "kept": "identity_target",
    "http": "http_target",
    "program": "program_target",
}
"""Target → module of this folder that has it in its TARGETS."""


def load(name: str) -> Target:
    """One target. What it needs is imported only then."""
    module = importlib.import_module(f"tests.fuzz.{MODULES[name]}")
    found = module.TARGETS[name]
    assert isinstance(found, Target)
    return found


def corpus(name: str) -> list[Path]:
    """The inputs that are kept for a target: what opened new ways, and what once was a finding."""
    return sorted((CORPUS / name).glob("*"))
