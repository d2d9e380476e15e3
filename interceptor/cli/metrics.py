"""`interceptor metrics` and `interceptor dashboard`: what Prometheus and Grafana need."""

from __future__ import annotations

import click

from interceptor.cli import option
from interceptor.config import Config
from interceptor.debug import control


@click.command()
@option.configured
def metrics(config: Config) -> None:
    """Print the figures of the running agent, as Prometheus scrapes them at agent.listen."""
    click.echo(control.fetch(config.agent.run_dir, "/metrics"), nl=False)


@click.command()
@click.option("--alerts", is_flag=True, help="Print Prometheus's alert rules instead.")
def dashboard(alerts: bool) -> None:
    """Print the Grafana dashboard, as JSON to import.

    It reads the agent's figures (port 15020) and Envoy's (port 15090) of the same hosts. The
    scrape's job for the agent has to be called interceptor for one of the alert rules.
    """
    from interceptor.debug.dashboard import alert, form, proxy

    text = alert.render(alert.ALERTS) if alerts else form.render(proxy.ROWS)
    click.echo(text, nl=False)
