"""`interceptor run`: the daemon."""

from __future__ import annotations

import click

from interceptor.cli import duration, option
from interceptor.config import Config


@click.command()
@click.option(
    "--confirm",
    "confirm_s",
    metavar="DURATION",
    callback=duration.option,
    help="Take everything back after this time unless `interceptor confirm` came, or Enter here.",
)
@option.backend
@option.log_level
@option.configured
def run(config: Config, confirm_s: float | None) -> int:
    """Run the agent until SIGTERM or SIGINT."""
    # gRPC and the rest of the daemon cost the other commands nothing.
    from interceptor import daemon

    return daemon.run(config, confirm_s)
