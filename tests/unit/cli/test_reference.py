"""The printed reference is the command line's own help."""

from __future__ import annotations

from interceptor.cli import reference


def test_the_reference_is_up_to_date() -> None:
    assert reference.PATH.read_text() == reference.render(), (
        "run `python -m interceptor.cli.reference`"
    )


def test_every_command_of_the_contract_has_a_section() -> None:
    text = reference.render()
    for name in ("run", "plan", "apply", "clean", "status", "resolve", "explain", "mesh", "config"):
        assert f"## interceptor {name}\n" in text, name
