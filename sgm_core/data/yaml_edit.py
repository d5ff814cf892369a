"""Add an entry to params.yaml without touching the rest: comments, quotes and line breaks stay.

The parser's marks say where a section ends, and text is inserted there. The result is parsed again
and must be the old content plus the entry; a layout for which that fails (a section written as one
flow mapping, say) goes through ruamel.yaml, which keeps comments and may break lines anew.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import yaml


def add_entry(text: str, section: str, name: str, block: str) -> str:
    """Return `text` with `block` (indented by two spaces) at the end of the mapping `section`.

    `block` is one entry called `name`; comments before it are allowed.
    """
    entry = yaml.safe_load(block)[name]

    def extend(data: Any) -> None:
        if data.get(section) is None:
            data[section] = {}
        data[section][name] = entry

    def splice(root: yaml.MappingNode) -> str:
        lines = text.splitlines(keepends=True)
        newline = "\r\n" if "\r\n" in text else "\n"
        node = _child(root, section)
        last = _last_line(node)
        if not lines[last].endswith(("\n", "\r")):
            lines[last] += newline
        own = " " * node.value[0][0].start_mark.column
        put = [own + line.removeprefix("  ") + newline for line in block.splitlines()]
        if block.lstrip().startswith("#") or _spaced(node):  # an entry with a comment stands apart
            put.insert(0, newline)
        return "".join(lines[: last + 1] + put + lines[last + 1 :])

    return _edit(text, extend, splice)


def add_item(text: str, key: str, item: str) -> str:
    """Return `text` with `item` at the end of the list `key` (unchanged if it is there already)."""
    data = yaml.safe_load(text) or {}
    if item in (data.get(key) or []):
        return text

    def extend(data: Any) -> None:
        if data.get(key) is None:
            data[key] = []
        data[key].append(item)

    def splice(root: yaml.MappingNode) -> str:
        node = _child(root, key)
        if node.flow_style:
            end = node.end_mark.index - 1  # the closing bracket
            return text[:end] + (", " if node.value else "") + item + text[end:]
        lines = text.splitlines(keepends=True)
        last = _last_line(node)
        newline = "\r\n" if "\r\n" in text else "\n"
        if not lines[last].endswith(("\n", "\r")):
            lines[last] += newline
        lines.insert(last + 1, " " * node.start_mark.column + f"- {item}" + newline)
        return "".join(lines)

    return _edit(text, extend, splice)


def _edit(text: str, extend: Callable[[Any], None], splice: Callable[[Any], str]) -> str:
    """Splice text; check it against the wanted content; else let ruamel.yaml write it."""
    old = yaml.safe_load(text) or {}
    wanted = copy.deepcopy(old)
    extend(wanted)
    try:
        new = splice(yaml.compose(text))
        if yaml.safe_load(new) == wanted:
            return new
    except (LookupError, AttributeError, TypeError, yaml.YAMLError):
        pass  # a layout that the splice does not know
    from ruamel.yaml import YAML

    writer = YAML()
    writer.preserve_quotes = True
    writer.width = 100
    data = writer.load(text) or {}
    extend(data)
    stream = io.StringIO()
    writer.dump(data, stream)
    return stream.getvalue()


def _child(root: yaml.MappingNode, key: str) -> Any:
    """Return the node of `key`; KeyError if it is not there."""
    return {name.value: value for name, value in root.value}[key]


def _last_line(node: yaml.Node) -> int:
    """Return the line (from 0) on which the last leaf of a block collection ends."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last_line(last[1] if isinstance(last, tuple) else last)
    if not isinstance(node, yaml.CollectionNode) and node.end_mark.column == 0:
        return int(node.end_mark.line) - 1  # a block scalar ends at the start of the next line
    return int(node.end_mark.line)


def _spaced(node: yaml.MappingNode) -> bool:
    """Tell whether the entries of a mapping are separated by empty lines."""
    return len(node.value) > 1 and all(
        after[0].start_mark.line - _last_line(before[1]) > 1
        for before, after in zip(node.value, node.value[1:], strict=False)
    )
