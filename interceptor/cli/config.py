"""`interceptor config`: show, check, from-istio."""

from __future__ import annotations

import json
from pathlib import Path

import click
import yaml

from interceptor import config as configuration
from interceptor.cli import option
from interceptor.config import Config


@click.group()
def config() -> None:
    """Print, check and migrate the configuration."""


@config.command()
@option.as_json
@option.configured
def show(config: Config, as_json: bool) -> None:
    """Print the whole configuration, every default included, with comments."""
    if as_json:
        click.echo(config.model_dump_json(indent=2))
    else:
        click.echo(configuration.show(config), nl=False)


@config.command()
@option.as_json
@option.configured
def check(config: Config, as_json: bool) -> None:
    """Check the configuration; every problem is reported at once (exit code 2)."""
    click.echo(json.dumps({"problems": []}) if as_json else "the configuration is legal")


@config.command("from-istio")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def from_istio(files: tuple[Path, ...]) -> None:
    """Turn Istio's cluster.env, sidecar.env and mesh.yaml into our configuration.

    What has no counterpart is named in a comment.
    """
    found = option.migrated(files)
    configuration.parse("", base=found.settings)
    tree: dict[str, dict[str, object]] = {}
    for key, (value, _whence) in found.settings.items():
        inner = tree
        *groups, leaf = key.split(".")
        for group in groups:
            inner = inner.setdefault(group, {})  # type: ignore[assignment]
        inner[leaf] = value  # type: ignore[assignment]
    for note in found.notes:
        click.echo(f"# {note}")
    click.echo(yaml.safe_dump(tree, sort_keys=False, default_flow_style=None), nl=False)
