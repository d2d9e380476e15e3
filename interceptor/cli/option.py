"""Options that several commands share, and the configuration that they make."""

from __future__ import annotations

import functools
import grp
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import click

from interceptor import config, migration
from interceptor.config import Config
from interceptor.errors import ConfigError, Problem

P = ParamSpec("P")
R = TypeVar("R")

REREAD = "interceptor.reread"
"""In a command's context: gives the configuration as the same command would have it now."""

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _read(path: Path, what: str) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Problem(str(path), "(file)", str(error), what)]) from error


def user_id(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def group_id(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def migrated(files: tuple[Path, ...]) -> migration.Migration:
    """What Istio's files say, in our keys."""
    variables: dict[str, str] = {}
    for path in files:
        variables |= migration.parse_file(_read(path, "a readable file"), str(path))
    return migration.migrate(variables, user_id, group_id)


def load(
    path: Path | None, istio_env: tuple[Path, ...] = (), flags: dict[str, object] | None = None
) -> Config:
    """The configuration. Without a path: the default file where there is one."""
    text, where = "", "(defaults)"
    if path is not None or config.DEFAULT_PATH.exists():
        path = path or config.DEFAULT_PATH
        text, where = _read(path, "a readable configuration file"), str(path)
    return config.parse(
        text,
        where,
        environment=os.environ,
        flags={key: value for key, value in (flags or {}).items() if value is not None},
        base=migrated(istio_env).settings,
    )


def configured(
    function: Callable[Concatenate[Config, P], R],
) -> Callable[P, R]:
    """Give a command --config and --istio-env, and its function the Config they make."""

    @click.option(
        "--config",
        "config_path",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help=f"Configuration file [default: {config.DEFAULT_PATH}].",
    )
    @click.option(
        "--istio-env",
        type=click.Path(path_type=Path),
        metavar="FILE",
        multiple=True,
        help="Take settings from Istio's cluster.env, sidecar.env or mesh.yaml.",
    )
    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> R:
        path, istio_env = kwargs.pop("config_path"), kwargs.pop("istio_env")
        flags = {
            key: kwargs.pop(name)
            for name, key in (
                ("backend", "capture.backend"),
                ("log_level", "log.level"),
                ("nametable", "mesh.nametable"),
            )
            if name in kwargs
        }
        if flags.get("mesh.nametable") is not None:
            flags["mesh.source"] = "nametable"
        assert isinstance(path, Path | None)
        assert isinstance(istio_env, tuple)
        reread = functools.partial(load, path, istio_env, flags)
        click.get_current_context().meta[REREAD] = reread
        return function(reread(), *args, **kwargs)

    return command


backend = click.option(
    "--backend",
    type=click.Choice(["auto", "ebpf", "nftables", "iptables"]),
    help="Capture by this back end instead of capture.backend.",
)

log_level = click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="Log from this level on instead of log.level.",
)

nametable = click.option(
    "--nametable",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Take the mesh from this name-table file (istiod's /debug/ndsz).",
)
