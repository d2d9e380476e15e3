"""Steps as they are printed."""

from __future__ import annotations

from interceptor.capture import step
from interceptor.capture.step import Command, Step

ONE = Step("why", Command(("nft", "-f", "a b"), "x\n"), (Command(("nft", "-d")),))


def test_a_step_can_be_pasted_into_a_shell() -> None:
    assert step.text([ONE]) == "# why\nnft -f 'a b' <<'EOF'\nx\nEOF\n"


def test_a_step_is_a_value_for_json() -> None:
    assert step.json(ONE) == {
        "why": "why",
        "argv": ["nft", "-f", "a b"],
        "stdin": "x\n",
        "undo": [{"argv": ["nft", "-d"], "stdin": None}],
    }
