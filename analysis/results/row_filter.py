"""Choosing cells by an expression such as ``eps>1 and phi=='I'``, which can compare and nothing else."""

from __future__ import annotations

import ast
from collections.abc import Collection

import pandas as pd


def choose(table: pd.DataFrame, where: str) -> pd.Series[bool]:
    """Which rows fulfil ``where``: comparisons of columns with numbers and texts, and, or, not, in.

    The expression is parsed first, and anything else in it, a call, an attribute, a sum, is refused, so that
    it may come from a stranger.

    Raises: ValueError that says what is wrong and which columns there are.
    """
    known = f"known columns: {', '.join(map(str, table.columns))}"
    try:
        tree = ast.parse(where.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"cannot read {where!r}: {error}; write such as eps>1 and phi=='I'; {known}") from error
    fault = _fault(tree, set(map(str, table.columns)))
    if fault:
        raise ValueError(f"{fault} in {where!r}; {known}")
    try:
        chosen = table.query(ast.unparse(tree), engine="python").index
    except (TypeError, ValueError) as error:
        raise ValueError(f"cannot compare in {where!r}: {error}; {known}") from error
    return pd.Series(table.index.isin(chosen), index=table.index)


def _fault(node: ast.expr, columns: Collection[str]) -> str:
    """Say what must not stand here, where a condition is expected; empty if all is well."""
    if isinstance(node, ast.BoolOp):
        return next(filter(None, (_fault(part, columns) for part in node.values)), "")
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return _fault(node.operand, columns)
    if not isinstance(node, ast.Compare):
        return f"{ast.unparse(node)!r} is no comparison"
    sides = [node.left, *node.comparators]
    if any(isinstance(operator, ast.Is | ast.IsNot) for operator in node.ops):
        return "'is' cannot be used, write =="
    if not any(isinstance(side, ast.Name) for side in sides):
        return f"{ast.unparse(node)!r} compares no column"
    return next(filter(None, (_operand_fault(side, columns) for side in sides)), "")


def _operand_fault(node: ast.expr, columns: Collection[str]) -> str:
    if isinstance(node, ast.Name):
        return "" if node.id in columns else f"unknown column {node.id!r}"
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float | str):
        return ""
    if isinstance(node, ast.List | ast.Tuple):
        odd = [item for item in node.elts if isinstance(item, ast.Name) or _operand_fault(item, columns)]
        return f"{ast.unparse(odd[0])!r} is no number or text" if odd else ""
    return f"{ast.unparse(node)!r} is not allowed: only columns, numbers and texts can be compared"
