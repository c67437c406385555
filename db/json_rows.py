"""Rows that stay JSON text on their way from one database to another: never parsed, so never changed."""

from collections.abc import Sequence

from core.ids import Ulid


def with_ids(ids: Sequence[Ulid], rows: Sequence[str]) -> str:
    """Return a JSON array of the objects `rows`, each under its id."""
    return "[" + ",".join(_with_id(each, row) for each, row in zip(ids, rows, strict=True)) + "]"


def _with_id(id: Ulid, row: str) -> str:  # noqa: A002
    rest = row.lstrip()[1:]
    return f'{{"id":"{id}"' + ("," if rest.lstrip() != "}" else "") + rest
