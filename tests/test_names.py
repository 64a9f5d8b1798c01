"""One word per idea: a class name stands for one thing, and flows and tasks can be told apart in Prefect's UI."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("convoforge", "flows", "tasks", "deployments", "examples")


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            if not any(part.is_symlink() for part in path.parents):
                yield path, ast.parse(path.read_text())


def test_no_class_name_stands_twice() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(path.relative_to(ROOT)))
    assert len(places) > 100
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_flows_and_tasks_have_names_of_their_own() -> None:
    names = []
    for path, tree in sources():
        if path.parent.name not in ("flows", "tasks"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef):
                for one in node.decorator_list:
                    if isinstance(one, ast.Call) and getattr(one.func, "id", "") in ("flow", "task", "materialize"):
                        names += [key.value.value for key in one.keywords if key.arg == "name"]
    assert len(names) > 8
    assert len(names) == len(set(names))


def test_messages_of_a_run_name_options_as_its_form_does() -> None:
    """What Prefect's UI shows names a field of the form; `--x` belongs to a command, which stands in backticks with it, or is all of the text."""
    command_line = ("cli", "api", "checks", "simulator", "claude")
    found = []
    for path, tree in sources():
        room = path.relative_to(ROOT).parts[1]
        if path.relative_to(ROOT).parts[0] in ("deployments", "examples") or room in command_line:
            continue
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if id(node) in docs | inside or not isinstance(node, ast.JoinedStr | ast.Constant):
                continue
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            text = "".join(
                part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "…" for part in parts
            )
            if re.search(r"--[a-z]", re.sub(r"`[^`]* [^`]*`|^convoforge .*", "", text)) and " " in text.strip():
                found.append(f"{path.relative_to(ROOT)}:{node.lineno} {text}")
    assert found == []
