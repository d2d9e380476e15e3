"""The `interceptor` command: its groups, loaded when called, and what errors become."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import sys

import click

import interceptor
from interceptor.cli.main import DONE, FAILED, UNSUPPORTED, USAGE
from interceptor.errors import ConfigError, InterceptorError, Unsupported
from interceptor.host.lifeline import Lifeline

# Command → module of this package that has it, under the command's name. Each
# module is imported when its command is called: `interceptor resolve` must not
# pay for gRPC.
_COMMANDS = {
    "run": "run",
    "plan": "plan",
    "apply": "plan",
    "clean": "plan",
    "status": "status",
    "doctor": "doctor",
    "confirm": "status",
    "top": "top",
    "metrics": "metrics",
    "dashboard": "metrics",
    "resolve": "resolve",
    "explain": "explain",
    "replay": "replay",
    "capture": "capture",
    "extcap": "extcap",
    "trace": "trace",
    "mesh": "mesh",
    "authority": "authority",
    "config": "config",
    "observe": "observe",
    "workload": "workload",
    "service": "service",
    "join": "join",
    "leave": "join",
    "lab": "lab",
    "bench": "lab",
    "unit": "unit",
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"interceptor.cli.{_COMMANDS[cmd_name]}")
        command = getattr(module, cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(interceptor.__version__, "-V", "--version", prog_name="interceptor")
def interceptor_command() -> None:
    """Makes this virtual machine a member of a service mesh.

    Names of the mesh are answered in place, connections to its services go
    through the Envoy sidecar; every other name and connection is left alone.

    \b
    Exit codes: 0 done; 1 failed; 2 usage or configuration;
    3 this host cannot; 4 the host differs from the plan.
    """


def _print_problems(error: ConfigError, *, as_json: bool) -> None:
    """JSON goes to standard output, where a program that asked for JSON reads."""
    if as_json:
        print(json.dumps({"problems": [dataclasses.asdict(item) for item in error.problems]}))
        return
    for problem in error.problems:
        print(f"error: {problem}", file=sys.stderr)


def call(argv: list[str] | None, lifeline: Lifeline | None = None) -> int:
    """Run one command. Returns its exit code. ``lifeline`` is a daemon's that has a supervisor."""
    try:
        code = interceptor_command.main(
            argv, prog_name="interceptor", standalone_mode=False, obj=lifeline or Lifeline()
        )
    except click.ClickException as error:
        error.show()
        code = USAGE
    except click.Abort:
        print("aborted", file=sys.stderr)
        code = FAILED
    except ConfigError as error:
        _print_problems(error, as_json="--json" in (sys.argv if argv is None else argv))
        code = USAGE
    except Unsupported as error:
        print(f"error: {error}", file=sys.stderr)
        code = UNSUPPORTED
    except BrokenPipeError:
        # `interceptor mesh list | head`: the reader has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = DONE
    except (InterceptorError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        code = FAILED
    return code if isinstance(code, int) else DONE
