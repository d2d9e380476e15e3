"""How large a YAML document is once its aliases are copies.

A few lines of anchors that name each other twice are a billion values to
whoever walks them (and merge keys are copied while they are read), so this is
asked of the nodes, which share what an alias repeats. PURE.
"""

from __future__ import annotations

import yaml

COPIES = 100_000
"""Values that aliases may add to a document, whose own are fewer than its bytes."""


def measure(root: yaml.Node) -> float:
    """How many values a document holds; infinite where one holds itself."""
    known: dict[int, float] = {}
    above: set[int] = set()
    stack = [root]
    while stack:
        node = stack[-1]
        if id(node) in known:
            stack.pop()
            continue
        parts = _parts(node)
        if id(node) in above:
            known[id(node)] = 1 + sum(known[id(part)] for part in parts)
            above.discard(id(node))
            stack.pop()
            continue
        waiting = [part for part in parts if id(part) not in known]
        if any(id(part) in above or part is node for part in waiting):
            return float("inf")
        above.add(id(node))
        stack += waiting
    return known[id(root)]


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []
