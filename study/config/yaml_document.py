"""A YAML study file with the line of every key, for faults that name the place."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import yaml

from study.config.messages import Path, dotted
from trainers.errors import Fault, InputError


class Document:
    """A YAML text: its plain value, and the line of every field."""

    def __init__(self, text: str, name: str) -> None:
        """Parse ``text``; ``name`` is what errors call it. Raises: InputError with the line at fault."""
        self.name = name
        try:
            self._root = yaml.compose(text, Loader=yaml.SafeLoader)
            self._refuse_twins()
            self.value: Any = yaml.safe_load(text)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = f"{name}:{mark.line + 1}" if mark else name
            raise InputError(Fault(where, f"not readable as YAML: {error.problem}", "mend the syntax")) from None
        except yaml.YAMLError as error:
            raise InputError(Fault(name, f"not readable as YAML: {error}", "mend the syntax")) from None
        except (ValueError, LookupError, AttributeError, RecursionError) as error:
            # A date that no calendar has, a number of thousands of digits, lists in lists without end.
            raise InputError(Fault(name, f"not readable as YAML: {error}", "mend the value")) from None

    def where(self, path: Path) -> str:
        """``study.yaml:7: search.space.phi[1]``; the line is that of the nearest field there is."""
        node, line = self._root, 1
        for part in path:
            children = dict(_children(node))
            if part not in children:
                break
            line, node = children[part]
        return f"{self.name}:{line}: {dotted(path)}" if path else f"{self.name}:{line}"

    def _refuse_twins(self) -> None:
        """A key given twice would silently win over the first."""
        faults, nodes, visited = [], [self._root], set()
        while nodes:
            node = nodes.pop()
            if id(node) in visited:  # an alias may lead back to where it stands
                continue
            visited.add(id(node))
            seen: set[Hashable] = set()
            for part, (line, child) in _children(node):
                if part in seen:
                    faults.append(Fault(f"{self.name}:{line}: {part}", "given twice", "keep one"))
                seen.add(part)
                nodes.append(child)
        if faults:
            raise InputError(faults)


def _children(node: Any) -> Iterable[tuple[str | int, tuple[int, Any]]]:
    if isinstance(node, yaml.MappingNode):
        return [
            # A key that is itself a list or a mapping cannot be looked up; its text stands for it.
            (key.value if isinstance(key, yaml.ScalarNode) else "?", (key.start_mark.line + 1, value))
            for key, value in node.value
        ]
    if isinstance(node, yaml.SequenceNode):
        return [(index, (value.start_mark.line + 1, value)) for index, value in enumerate(node.value)]
    return []
