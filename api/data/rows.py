"""Calls that are answered by rows: what of a body goes on, and what is said of each of its records."""

import json
from collections.abc import Sequence
from typing import Any

from api import problems
from core import body as bodies
from core import coerce, rows
from core.body import Body, Write
from core.coerce import Coercion
from core.errors import Fault, Invalid
from core.record import Field, Table
from core.schema.types import Mode
from db.data import batches
from db.data.batches import Part
from db.data.homes import Answer

Checked = tuple[Body, Sequence[Coercion]]


def checked(table: Table, write: Write, raw: bytes, mode: Mode) -> tuple[Body, bytes | None]:
    """Return the body, and as JSON what was coerced in it where that was asked for."""
    if mode is Mode.OFF:
        return bodies.read(table, write, raw), None
    body, made = coerce.read(table, write, raw, mode)
    return body, coerce.report(made)


def part(
    table: Table, write: Write, raw: bytes, mode: Mode, *, each: bool, merge_on: Field | None = None
) -> Part:
    """Return the records that go on; where not `each`, all of them. Raises what is wrong with the whole body."""

    def check(raw: bytes) -> Checked:
        body, made = coerce.read(table, write, raw, mode)
        if body.one and (each or merge_on is None):
            detail = "this call has a body with `records`"
            raise Invalid(detail, (Fault("", "one_or_many", detail),))
        if merge_on is not None:
            rows.refuse_keyless(body.records, merge_on.name, one=body.one)
        return body, made

    if not each:
        body, made = check(raw)
        if body.one:
            body = Body(b'{"records":[%b]}' % body.raw, True, body.records)
        return Part(body, range(len(body.records)), {}, _report(made, mode))
    sifted = rows.sift(raw, check, lambda passed: len(passed[0].records))
    if sifted.passed is None:
        return Part(Body(b"{}", False, []), (), sifted.refused, _report((), mode))
    body, made = sifted.passed
    told = [Coercion(sifted.places[one.record], one.field, one.given, one.made, one.rule) for one in made]
    return Part(body, sifted.places, sifted.refused, _report(told, mode))


def told(table: Table, answer: Answer, *, in_body: bool = True) -> list[dict[str, Any]]:
    """Return the rows as the caller sees them."""
    found: list[dict[str, Any]] = json.loads(answer.body)
    for row in found:
        row.pop("coercions", None)
        place = row.pop("n", None)
        if "error" in row:
            error = batches.refusal(table, place, row["error"], in_body=in_body)
            row["error"] = problems.members(error.status, error.reason, error.detail, error.faults)
    return found


def _report(made: Sequence[Coercion], mode: Mode) -> bytes | None:
    return None if mode is Mode.OFF else coerce.report(made)
