"""Every command is there when it is called, and not before."""

from __future__ import annotations

import json
from collections.abc import Callable

import click

from interceptor.cli.group import interceptor_command

Run = Callable[..., tuple[int, str, str]]


def test_each_command_is_found_under_its_name() -> None:
    context = click.Context(interceptor_command)
    for name in interceptor_command.list_commands(context):
        command = interceptor_command.get_command(context, name)
        assert command is not None
        assert command.name == name


def test_problems_are_json_where_json_was_asked_for(run: Run) -> None:
    code, out, _ = run("resolve", "x", "--json", "--config", "/nonexistent.yaml")
    assert code == 2
    assert json.loads(out)["problems"][0]["where"] == "/nonexistent.yaml"
