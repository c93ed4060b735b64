"""Which role may call what, as a table made of the declarations that decide.

Pure. The README shows it; a test calls every operation with every role and compares.
"""

from collections.abc import Iterable

from relay.api.operations import Operation

NOBODY = "no key"
COLUMNS = (NOBODY, "player", "client", "server", "auditor", "admin")
YES, NO, BY_GAME = "✓", "·", "by game"


def may(operation: Operation, column: str) -> str:
    """Return whether a caller of this column may call: `✓`, `·`, or `by game` where the game decides."""
    if operation.roles is None:
        return YES
    if column == NOBODY:
        return BY_GAME if operation.guests else NO
    return YES if column in operation.roles else NO


def roles_table(operations: Iterable[Operation]) -> str:
    """Return the table in Markdown: operations with the same answers share a row, the most open first."""
    rows: dict[tuple[str, ...], list[Operation]] = {}
    for operation in operations:
        if not operation.hidden:
            rows.setdefault(tuple(may(operation, column) for column in COLUMNS), []).append(operation)
    ordered = sorted(rows.items(), key=lambda row: (-row[0].count(YES), row[0]))
    lines = ["| may call | " + " | ".join(COLUMNS) + " |", "|---|" + ":-:|" * len(COLUMNS)]
    lines += [f"| {_named(listed)} | {' | '.join(answers)} |" for answers, listed in ordered]
    return "\n".join(lines) + "\n"


def _named(operations: list[Operation]) -> str:
    """Return the operations by path, each path once with its methods."""
    by_path: dict[str, list[str]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, []).append(operation.method)
    return ", ".join(f"`{' '.join(methods)} {path}`" for path, methods in sorted(by_path.items()))
