"""What a list would cost: PostgreSQL's own plan of the statement that would run, told in the tenant's words."""

import json
import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any

from core.filter import spelled
from core.record import Table
from db.data import names
from db.data.listing import Listing
from db.data.records import Call, read
from db.data.statements import Statement

_SORTS = ("Sort", "Incremental Sort")
_LISTED = re.compile("r(_[0-9]+)?")
"""The aliases of the table that is listed: a condition or a link may read it once more, as something else."""
_POLICY = re.compile(r"\(InitPlan [0-9]+\)\.col1")
_INDEXED = ("Index Scan", "Index Only Scan", "Bitmap Index Scan")
_SCANS = ("Seq Scan", "Index Scan", "Index Only Scan", "Bitmap Heap Scan", "Tid Scan")


class CostClass(StrEnum):
    """How the work of one page grows."""

    INDEX = "index"
    """With the page: an index has the order or finds the records, and nothing else is read."""
    WALK = "walk"
    """With the records passed over: an index has the order, and each record is compared until the page is full."""
    SORT = "sort"
    """With the records found: all of them are read, and put in order, for each page."""
    SCAN = "scan"
    """With the table: every record is read."""


async def explain(call: Call, listing: Listing, after: Sequence[str | None] | None, limit: int) -> bytes:
    """Return, as JSON, the query as it was understood and how PostgreSQL would answer it; nothing is read."""
    params: dict[str, Any] = {"limit": limit, "q": listing.values}
    if after is not None:
        params["after"] = after
    statement = Statement(f"explain (format json) {listing.statement(after, limit).sql}")
    answer = await read(call, statement, json.dumps(params).encode())
    told = {
        "sort": [
            {"field": key.field.name, "direction": "desc" if key.descending else "asc"}
            for key in listing.order
        ]
    } | _told(json.loads(answer.body)[0]["Plan"], call.table)
    tree = "null" if listing.tree is None else spelled(listing.tree)
    return b'{"filter":' + tree.encode() + b"," + json.dumps(told).encode()[1:]


def _told(plan: dict[str, Any], table: Table) -> dict[str, Any]:
    name = names.table_name(table.id)
    scan, is_sorted = next(_scans(plan, name, is_sorted=False), (plan, False))
    used = [node for node in _nodes(scan) if node["Node Type"] in _INDEXED]
    known = _indexes(table)
    rows = scan["Plan Rows"]
    if rows > 1 and _POLICY.search(scan.get("Filter", "")):
        # The planner takes the policy's one yes or no for half the rows.
        rows *= 2
    found = [known[node["Index Name"]] for node in used if node["Index Name"] in known]
    return {
        "indexes": found,
        "cost_class": _cost_class(scan, used, is_sorted=is_sorted),
        "estimated_rows": rows,
    }


def _cost_class(scan: dict[str, Any], used: Sequence[dict[str, Any]], *, is_sorted: bool) -> CostClass:
    if is_sorted:
        return CostClass.SORT
    if not used:
        return CostClass.SCAN
    passes_over = "Filter" in scan and not _POLICY.fullmatch(scan["Filter"])
    return CostClass.WALK if passes_over else CostClass.INDEX


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)


def _scans(plan: dict[str, Any], name: str, *, is_sorted: bool) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield the scans of the table that is listed, and whether all that they find is sorted, and not the page only."""
    kind = plan["Node Type"]
    if kind in _SCANS and plan.get("Relation Name") == name and _LISTED.fullmatch(plan.get("Alias", "")):
        yield plan, is_sorted
    is_sorted = kind in _SORTS or (is_sorted and kind != "Limit")
    for inner in plan.get("Plans", ()):
        yield from _scans(inner, name, is_sorted=is_sorted)


def _indexes(table: Table) -> dict[str, dict[str, Any]]:
    """Return the indexes that a table may have, by their physical names."""
    found = {
        names.key_name(table.id): {"fields": ["id"], "unique": True},
        names.created_name(table.id): {"fields": ["created_at", "id"], "unique": False},
    }
    for field in table.fields:
        if field.link is not None:
            continue  # neither links nor inverses have a column in order
        found[names.order_name(field.id)] = {"fields": [field.name, "id"], "unique": False}
        found[names.unique_name(field.id)] = {"fields": [field.name], "unique": True}
    return found
