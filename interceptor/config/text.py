"""The configuration tree from text and back: `parse` and `show`, both pure."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from itertools import pairwise
from textwrap import dedent
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from interceptor.config.tree import Config
from interceptor.errors import ConfigError, Problem

ENVIRONMENT_PREFIX = "INTERCEPTOR_"


def _place(location: tuple[int | str, ...]) -> str:
    """pydantic's location as a dotted key; its own tags for unions are left out."""
    parts: list[str] = []
    for part in location:
        if isinstance(part, int):
            parts.append(f"[{part}]")
        elif part.isidentifier() and part.islower():
            parts.append(f".{part}" if parts else part)
    return "".join(parts) or "(document)"


def _lines(text: str) -> dict[str, int]:
    """Dotted key → line (from one) of every mapping key and list item in a YAML text."""
    found: dict[str, int] = {}

    def walk(node: yaml.Node | None, key: str) -> None:
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                inner = f"{key}.{name.value}" if key else str(name.value)
                found[inner] = name.start_mark.line + 1
                walk(value, inner)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                found[f"{key}[{index}]"] = value.start_mark.line + 1
                walk(value, f"{key}[{index}]")

    walk(yaml.compose(text, Loader=yaml.CSafeLoader), "")
    return found


def _legal(model: type[BaseModel], message: str, location: tuple[int | str, ...]) -> str:
    """What would have been legal: for an unknown key, the keys that exist there."""
    if "Extra inputs" not in message:
        return message
    here = model
    for part in location[:-1]:
        field = here.model_fields.get(str(part))
        if field is None or not isinstance(field.default, BaseModel):
            break
        here = type(field.default)
    return "unknown key; legal here: " + ", ".join(here.model_fields)


def _set(tree: dict[str, Any], key: str, value: object) -> None:
    for part in key.split(".")[:-1]:
        inner = tree.setdefault(part, {})
        if not isinstance(inner, dict):
            inner = tree[part] = {}
        tree = inner
    tree[key.split(".")[-1]] = value


def environment_keys(model: type[BaseModel] = Config, prefix: str = "") -> dict[str, str]:
    """Environment variable → dotted key, for every leaf of the tree."""
    keys: dict[str, str] = {}
    for name, field in model.model_fields.items():
        key = f"{prefix}.{name}" if prefix else name
        if isinstance(field.default, BaseModel):
            keys |= environment_keys(type(field.default), key)
        else:
            keys[ENVIRONMENT_PREFIX + key.replace(".", "_").upper()] = key
    return keys


def _load(text: str, where: str) -> tuple[dict[str, Any], dict[str, int]]:
    """A YAML mapping and the line of each of its keys."""
    try:
        tree = yaml.load(text, Loader=yaml.CSafeLoader)
        lines = _lines(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or str(error)
        line = mark.line + 1 if mark else 0
        raise ConfigError([Problem(where, "(document)", reason, "YAML", line)]) from error
    if not isinstance(tree, dict | None):
        legal = "a mapping with " + ", ".join(Config.model_fields)
        raise ConfigError([Problem(where, "(document)", type(tree).__name__, legal, 1)])
    return tree or {}, lines


def parse(
    text: str,
    where: str = "(defaults)",
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
    base: Mapping[str, tuple[object, str]] | None = None,
) -> Config:
    """The configuration that ``text`` (YAML), ``environment`` and ``flags`` make.

    ``flags`` maps dotted keys to values; ``base`` maps them to (value, whence),
    for what stands below the file (another agent's settings). Environment values
    are read as YAML, so that ``[a, b]`` and ``null`` mean what they look like.
    Raises ConfigError with every problem at once.
    """
    tree, lines = _load(text, where)
    sources: dict[str, str] = {}
    for key, (value, whence) in (base or {}).items():
        if key not in lines:
            _set(tree, key, value)
            sources[key] = whence
    keys = environment_keys()
    for variable, raw in sorted((environment or {}).items()):
        if variable in keys:
            try:
                value = yaml.load(raw, Loader=yaml.CSafeLoader)
            except yaml.YAMLError:
                value = raw
            _set(tree, keys[variable], value)
            sources[keys[variable]] = variable
    for key, value in (flags or {}).items():
        _set(tree, key, value)
        sources[key] = "--" + key.rpartition(".")[2].replace("_", "-")
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_problems(error, where, lines, sources)) from error


def _problems(
    error: ValidationError, where: str, lines: Mapping[str, int], sources: Mapping[str, str]
) -> list[Problem]:
    """pydantic's errors, one for each key (a union reports each of its arms)."""
    merged: dict[str, tuple[str, list[str], str]] = {}
    for item in error.errors(include_url=False):
        key = _place(item["loc"])
        legal = _legal(Config, item["msg"], item["loc"])
        value = repr(item["input"])
        _, legals, _ = merged.setdefault(key, (key, [], value))
        if legal not in legals:
            legals.append(legal)
    problems = []
    for key, legals, value in merged.values():
        place = sources.get(key.partition("[")[0])
        line = 0 if place else lines.get(key, 0)
        problems.append(Problem(place or where, key, value, "; or ".join(legals), line))
    return sorted(problems, key=lambda problem: (problem.line, problem.key))


def show(config: Config) -> str:
    """The whole configuration as YAML, each key with its reason as a comment."""
    out: list[str] = []
    for name in Config.model_fields:
        group = getattr(config, name)
        out.append(f"# {(type(group).__doc__ or '').strip()}")
        out.append(f"{name}:")
        out += _show_group(group, 1)
        out.append("")
    return "\n".join(out)


def _comments(model: type[BaseModel]) -> dict[str, str]:
    """The docstring behind each key of a group, from the source."""
    (body,) = ast.parse(dedent(inspect.getsource(model))).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for key, behind in pairwise(body.body):
        match key, behind:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(ast.Constant(str(text))):
                found[name] = text
    return found


def _show_group(group: BaseModel, depth: int) -> list[str]:
    out: list[str] = []
    pad = "  " * depth
    plain = group.model_dump(mode="json")
    comments = _comments(type(group))
    for name in type(group).model_fields:
        value = getattr(group, name)
        comment = comments.get(name) or (
            (type(value).__doc__ or "").strip() if isinstance(value, BaseModel) else ""
        )
        if comment:
            out.append(f"{pad}# {' '.join(comment.split())}")
        if isinstance(value, BaseModel):
            out.append(f"{pad}{name}:")
            out += _show_group(value, depth + 1)
        else:
            text = yaml.safe_dump(plain[name], default_flow_style=True, width=100_000)
            out.append(f"{pad}{name}: {text.removesuffix('...' + chr(10)).rstrip()}")
    return out
