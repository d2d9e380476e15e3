"""`interceptor run`: the daemon."""

from __future__ import annotations

import os

import click

from interceptor.cli import duration, option
from interceptor.config import Config
from interceptor.config.text import show
from interceptor.host import fuse, supervisor
from interceptor.host.lifeline import Lifeline


@click.command()
@click.option(
    "--confirm",
    "confirm_s",
    metavar="DURATION",
    callback=duration.option,
    help="Take everything back after this time unless `interceptor confirm` came, or Enter here.",
)
@click.option(
    supervisor.OFF,
    "alone",
    is_flag=True,
    help="Without the parent that ends and restarts a daemon that hangs. Under systemd with"
    " WatchdogSec there is none anyway.",
)
@option.backend
@option.log_level
@option.configured
@click.pass_obj
def run(lifeline: Lifeline, config: Config, confirm_s: float | None, alone: bool) -> int:
    """Run the agent until SIGTERM or SIGINT. SIGHUP: take over a changed configuration."""
    # gRPC and the rest of the daemon cost the other commands nothing.
    from interceptor import life

    if confirm_s is not None and not (lifeline.is_confirmed or lifeline.releases):
        # The supervisor, where there is one: with it the daemon ends.
        watched = os.getppid() if lifeline.who == "supervisor" else os.getpid()
        limit_s = confirm_s + config.agent.drain_s + fuse.GRACE_S
        fuse.light(config.agent.run_dir, show(config), limit_s, watched)
    reread = click.get_current_context().meta[option.REREAD]
    return life.run(config, confirm_s, lifeline, reread)
