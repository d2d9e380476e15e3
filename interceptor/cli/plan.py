"""`interceptor plan`, `apply`, `clean`: the capture plan without the daemon."""

from __future__ import annotations

import json

import click

from interceptor import assembly
from interceptor.cli import main, option
from interceptor.config import Config


@click.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    help="text: the commands as they would be typed; json: the same as values.",
)
@click.option("--diff", is_flag=True, help="Compare with the host; exit code 4 where it differs.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "--facts", is_flag=True, help="Print what is known of this host, for `replay` elsewhere."
)
@option.backend
@option.configured
def plan(config: Config, form: str, diff: bool, as_json: bool, facts: bool) -> int:
    """Print what `run` installs and `clean` removes."""
    if facts:
        from interceptor import rehearsal
        from interceptor.capture import factfile

        click.echo(json.dumps(factfile.encode(rehearsal.probe(config)), indent=2))
        return main.DONE
    prepared = assembly.prepare(config)
    if diff:
        text, differs = assembly.compare(prepared, as_json=as_json or form == "json")
        click.echo(text)
        return main.DRIFT if differs else main.DONE
    click.echo(assembly.render(prepared, as_json=as_json or form == "json"))
    return main.DONE


@click.command()
@option.backend
@option.configured
def apply(config: Config) -> None:
    """Install the plan without the daemon.

    DNS rules do nothing until a daemon answers; captured connections need a
    sidecar that listens.
    """
    prepared = assembly.prepare(config)
    assembly.apply(prepared)
    for line in prepared.choice.why:
        click.echo(line)


@click.command()
@option.configured
def clean(config: Config) -> None:
    """Remove everything of ours from this host, whatever installed it.

    Needs no configuration and no journal; ends a managed Envoy too.
    """
    for line in assembly.clean_host(config):
        click.echo(line)
