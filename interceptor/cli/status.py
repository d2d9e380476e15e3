"""`interceptor status` and `confirm`: what the running daemon says."""

from __future__ import annotations

import json
from typing import cast

import click

from interceptor.cli import main, option
from interceptor.config import Config
from interceptor.debug import control
from interceptor.debug.status import render


@click.command()
@option.as_json
@option.configured
def status(config: Config, as_json: bool) -> int:
    """Back end and why, table, planes, sidecar, drift.

    Exit code 0 where all is well, 1 where the daemon is away or not ready,
    4 where the host differs from the plan.
    """
    tree = cast("dict[str, object]", control.request(config.agent.run_dir, "GET", "/status"))
    click.echo(json.dumps(tree, indent=2) if as_json else render(tree), nl=as_json)
    if tree.get("drift"):
        return main.DRIFT
    return main.DONE if tree.get("ready") else main.FAILED


@click.command()
@option.configured
def confirm(config: Config) -> None:
    """Keep what `run --confirm` installed."""
    answer = cast("dict[str, bool]", control.request(config.agent.run_dir, "POST", "/confirm"))
    click.echo("confirmed" if answer["confirmed"] else "nothing waits for a confirmation")
