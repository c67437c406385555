"""Lists: one page of records by keyset, so that the thousandth page costs what the first costs."""

# ruff: noqa: S608  (see statements.py)

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from core import filter as filters
from core import record
from core.filter import All, Any, Compare, Filter, Linked, Not
from core.record import Field, SortKey, Table
from db.data import statements
from db.data.conditions import compiled
from db.data.statements import Statement, column, comma, physical, shape

_KEPT = 1_024
MAX_PAGE_BYTES = 4_000_000
"""A page ends here, whatever its limit; its first record is always in it."""
STREAM_RECORDS, STREAM_PAGE_BYTES = 1_000, 1_000_000
"""The same for a page of a stream, of which there may be many under way."""
_KEPT_LIMITS = (100, 1_000)
_ALL = "true"


class _Form(NamedTuple):
    """What tells one statement of a listing from another: which values of the place are empty, the page's size."""

    empty: tuple[bool, ...] | None
    size: int | None
    in_lines: bool

    @property
    def max_bytes(self) -> int:
        return STREAM_PAGE_BYTES if self.in_lines else MAX_PAGE_BYTES

    def each(self, record: str) -> str:
        """Return what a page's array is made of: between arrays PostgreSQL begins a new line, and inside of none."""
        return f"array[{record}]" if self.in_lines else record


Sort: TypeAlias = str | tuple[SortKey, ...] | None
Projection: TypeAlias = str | tuple[Field, ...] | None
"""As the parameter of the name spells it, or as a view does, read already."""


class Listing:
    """A list's query, read and compiled: what does not change from page to page."""

    def __init__(
        self, table: Table, sort: Sort, condition: str | Filter | None, projection: Projection
    ) -> None:
        self.table = table
        self.order = sort if isinstance(sort, tuple) else record.parse_sort(sort, table)
        self.fields = (
            projection if isinstance(projection, tuple) else record.parse_projection(projection, table)
        )
        self.tree = filters.parse(condition, table) if isinstance(condition, str) else condition
        self.query_key = record.query_key(table, self.order, filters.canonical(self.tree))
        self.values: list[str] = []
        """The filter's values, as `params.q`."""
        self.is_relative = filters.is_relative(self.tree)
        """Whether its meaning hangs on the present moment: then it is to be asked `at` one."""
        if not self.is_relative:
            self._condition = _ALL if self.tree is None else compiled(self.tree, self.values)
        self._statements: dict[_Form, Statement] = {}

    def at(self, now: datetime) -> "Listing":
        """Return the query as it is meant at `now`; itself where that makes no difference."""
        if self.tree is None or not self.is_relative:
            return self
        meant = copy(self)
        meant.values, meant._statements = [], {}
        meant._condition = compiled(filters.resolved(self.tree, now), meant.values)
        return meant

    def lost(self, tables: Mapping[str, Table]) -> Field | None:
        """Return a field that this query names and `tables` no longer have with its type; None where it still holds."""
        for table_id, field in self._named():
            present = tables[table_id].by_id.get(field.id) if table_id in tables else None
            if not field.is_system and (present is None or present.key != field.key):
                return field
        return None

    def can_resume(self, tables: Mapping[str, Table]) -> bool:
        """Tell whether a cursor of this query is still good for one with the same sort and filter."""
        kept = copy(self)
        kept.fields = ()
        return kept.lost(tables) is None

    def params(self, after: Sequence[str | None] | None, limit: int) -> bytes:
        """Return what the statement for the page after a place is given."""
        if after is None and not self.values:
            return b'{"limit":%d,"q":[]}' % limit
        params: dict[str, object] = {"limit": limit, "q": self.values}
        if after is not None:
            params["after"] = after
        return json.dumps(params).encode()

    def total(self) -> Statement:
        """Return the statement that counts all records that the filter finds."""
        return Statement(
            f"select to_json(count(*)), null::json from {physical(self.table)} r where {self._condition}"
        )

    def statement(
        self,
        after: Sequence[str | None] | None,
        limit: int,
        *,
        exact: bool = False,
        in_lines: bool = False,
    ) -> Statement:
        """Return the statement for the page after a place; one for each pattern of empty values in it.

        A page of a common size, without a filter and in an index's order, keeps its plan, which then needs to know
        the size. It answers no body at all for a page that would be too large: that is then to be asked for `exact`ly.
        """
        pattern = None if after is None else tuple(value is None for value in after)
        is_kept = self._condition == _ALL and limit in _KEPT_LIMITS and self._has_index
        size = limit if is_kept and not exact else None
        form = _Form(pattern, size, in_lines)
        if form not in self._statements:
            sql = self._exact(form) if size is None else self._quick(form)
            self._statements[form] = Statement(sql, keep=size is not None)
        return self._statements[form]

    def _named(self) -> Iterator[tuple[str, Field]]:
        yield from ((self.table.id, field) for field in self.fields)
        yield from ((self.table.id, key.field) for key in self.order)
        yield from _named_in(self.tree, self.table)

    @property
    def _has_index(self) -> bool:
        first, *others = self.order
        return len(others) < 2 and (first.field in (record.ID, record.CREATED_AT) or first.field.type.indexed)

    def _rows(self, form: "_Form", limit: str, columns: Iterable[str] | None = None) -> str:
        if columns is None:
            columns = statements.columns((*self.fields, *(key.field for key in self.order)))
        end = f"order by {self._order} limit {limit}"
        selected = f"select {', '.join(f'r.{c}' for c in columns)} from {physical(self.table)} r"
        branches = [_ALL] if form.empty is None else after(self.order, form.empty)
        rows = [f"{selected} where {self._condition} and {branch} {end}" for branch in branches]
        if len(rows) == 1:
            return rows[0]
        return f"select * from ({' union all '.join(f'({part})' for part in rows)}) r {end}"

    @property
    def _directions(self) -> set[bool]:
        return {key.descending for key in self.order}

    @property
    def _order(self) -> str:
        return ", ".join(f"r.{column(key.field)}{' desc' if key.descending else ''}" for key in self.order)

    @property
    def _place(self) -> str:
        return ", ".join(f"r.{column(key.field)}::text" for key in self.order)

    def _quick(self, form: "_Form") -> str:
        """Read a page, and where its last row stands if there is a next: less work than to count and sum on the way."""
        size, shown = form.size or 0, shape(self.fields)
        ends, following = self._end(form, size)
        return f"""
          select case when pg_column_size(p.body) <= {form.max_bytes} then p.body end, ({following})
            from (select coalesce(json_agg({form.each(shown.row)} order by {self._order}), '[]') as body{ends}
                    from ({self._rows(form, str(size))}) r {shown.join}) p"""

    def _end(self, form: "_Form", size: int) -> tuple[str, str]:
        """Return what the page `p` is to tell of its last row, and the expression for where the next one begins."""
        fields = [key.field for key in self.order]
        if any(f not in (record.ID, record.CREATED_AT) for f in fields) or len(self._directions) > 1:
            last_two = self._rows(form, str(size + 1), dict.fromkeys(map(column, fields)))
            return (
                "",
                f"""select (array_agg(json_build_array({self._place}) order by {self._order}))[1]
                      from (select * from ({last_two}) r offset {size - 1}) r having count(*) = 2""",
            )
        # What is never empty can be compared with as it is.
        last = [
            f"(array_agg(r.{column(f)} order by {self._order}))[{size}] as k{n}" for n, f in enumerate(fields)
        ]
        place = ", ".join(f"p.k{n}" for n in range(len(fields)))
        beyond = "<" if self.order[0].descending else ">"
        row = ", ".join(f"r.{column(f)}" for f in fields)
        texts = ", ".join(f"p.k{n}::text" for n in range(len(fields)))
        return (
            comma(last),
            f"""select json_build_array({texts})
                 where exists (select from {physical(self.table)} r where ({row}) {beyond} ({place}))""",
        )

    def _exact(self, form: "_Form") -> str:
        shown = shape(self.fields)
        limit = "($1 ->> 'limit')::int"
        # A page ends before the row that is one too many, or that would make it too large; after its last row the
        # next one begins.
        fits = f"r.n <= {limit} and (r.n = 1 or r.bytes <= {form.max_bytes})"
        is_last = f"{fits} and (r.n = {limit} or r.bytes_next > {form.max_bytes})"
        return f"""
          select coalesce(json_agg({form.each("r.j")} order by r.n) filter (where {fits}), '[]'),
                 min(case when r.bytes_next is not null and {is_last}
                          then json_build_array({self._place})::text end)::json
            from (select r.*, lead(r.bytes) over (order by r.n) as bytes_next
                    from (select r.*, sum(octet_length(r.j::text)) over (order by r.n rows unbounded preceding) as bytes
                            from (select row_number() over () as n, row_to_json({shown.row}) as j, r.*
                                    from ({self._rows(form, f"{limit} + 1")}) r {shown.join}) r) r) r"""


@lru_cache(_KEPT)
def listing(table: Table, sort: Sort, condition: str | Filter | None, projection: Projection) -> Listing:
    """Return the list's query for a table version; refuses what does not fit the table."""
    return Listing(table, sort, condition, projection)


def after(order: Sequence[SortKey], empty: Sequence[bool]) -> list[str]:
    """Return conditions that together mean "after the place `params.after`", in the order of their rows.

    They have no row in common, and each is one range of an index on the order's columns. Empty values come
    last, or, where the order descends, first.
    """
    branches: list[str] = []
    same: list[str] = []
    for n, (key, is_empty) in enumerate(zip(order, empty, strict=True)):
        name, value = f"r.{column(key.field)}", _place(n, key.field)
        here: list[str] = []
        if not is_empty:
            here.append(f"{name} {'<' if key.descending else '>'} {value}")
            if not key.descending and not key.field.is_system:
                here.append(f"{name} is null")
        elif key.descending:
            here.append(f"{name} is not null")
        branches = [" and ".join([*same, h]) for h in here] + branches
        same.append(f"{name} is null" if is_empty else f"{name} = {value}")
    return _merged(order, empty, branches)


def _named_in(tree: Filter | None, table: Table) -> Iterator[tuple[str, Field]]:
    match tree:
        case Compare(field, _, _):
            yield table.id, field
        case Not(part):
            yield from _named_in(part, table)
        case All(parts) | Any(parts):
            for part in parts:
                yield from _named_in(part, table)
        case Linked(field, _, other, part):
            yield table.id, field
            yield from _named_in(part, other)


def _merged(order: Sequence[SortKey], empty: Sequence[bool], branches: list[str]) -> list[str]:
    """Make one range of the last two, by comparing rows, where the id goes the way of the key before it."""
    if len(order) < 2 or empty[-2] or order[-2].descending != order[-1].descending:
        return branches
    key, last = order[-2], len(order) - 1
    row = f"(r.{column(key.field)}, r.id) {'<' if key.descending else '>'}"
    row += f" ({_place(last - 1, key.field)}, {_place(last, record.ID)})"
    *same, _, _ = branches[0].split(" and ")
    return [" and ".join([*same, row]), *branches[2:]]


def _place(n: int, field: Field) -> str:
    return f"($1 -> 'after' ->> {n})::{field.type.cast}"
