"""Expressions of PromQL over the hosts that are chosen, and panels of the usual kinds. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from interceptor.debug.dashboard.form import RATE, SCOPE, Panel, Unit


def of(name: str, matchers: str = "") -> str:
    """A metric of the chosen hosts."""
    return f"{name}{{{SCOPE}{', ' if matchers else ''}{matchers}}}"


def rate(name: str, by: str, matchers: str = "") -> str:
    """A counter a second, summed up but for these labels."""
    return f"sum by ({by}) (rate({of(name, matchers)}[{RATE}]))"


def own(name: str) -> str:
    """A figure of the agent's own process: others on the host have such a one, too."""
    return f"{name} * on (instance, job) {of('interceptor_build_info')}"


def speed(name: str) -> str:
    """Each series by itself, a second."""
    return f"rate({of(name)}[{RATE}])"


def grown(name: str, by: str = "instance") -> str:
    """In five minutes, which is long enough for what is rare to be seen."""
    return f"sum by ({by}) (increase({of(name)}[5m]))"


def total(name: str, by: str = "instance") -> str:
    return f"sum by ({by}) ({of(name)})"


def ratio(name: str, whole: str) -> str:
    return f"{of(name)} / {of(whole)}"


def quantile(share: float, name: str, by: str = "le") -> str:
    return f"histogram_quantile({share}, {rate(f'{name}_bucket', by)})"


def busiest(expression: str) -> str:
    return f"topk(10, {expression})"


def stat(title: str, text: str, name: str) -> Panel:
    """One number a host."""
    return Panel(title, text, {of(name): "{{instance}}"}, is_stat=True, width=4)


def state(title: str, text: str, name: str, wanted: int = 1) -> Panel:
    """Yes or no, of each host."""
    queries = {of(name): "{{instance}}"}
    return Panel(title, text, queries, Unit.STATE, is_stat=True, width=4, wanted=wanted)


def per_second(title: str, text: str, queries: Mapping[str, str]) -> Panel:
    return Panel(title, text, queries, Unit.PER_SECOND)
