"""What a cluster says by SQLSTATE: the closed list of `platform.read` and `platform.write`, and PostgreSQL's own."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import asyncpg

from core.body import Body
from core.errors import (
    Conflict,
    Fault,
    Forbidden,
    Invalid,
    NotFound,
    PlanebaseError,
    PreconditionFailed,
    StaleRoute,
    StaleSchema,
    TooLarge,
    Unavailable,
)
from core.record import Field, Table
from core.schema.closed import pointer
from db.data.links import UNKNOWN

NO_RECORD = "there is no such record"
# DDL may commit between the fence and the statement: then these mean that what was compiled is old.
MAY_BE_STALE = frozenset({"42703", "42P01", "0A000", "23502", "23514", "42804", "42883", "42P10"})
# Full, given up on time, or what two callers did to each other: rolled back.
_LATER = ("25P", "40", "53", "55", "57")
# What PostgreSQL has no room for: of a write, in an index.
_LIMITS = frozenset({"54000", "54023"})
_MAX_FAULTS = 50


def translated(error: asyncpg.PostgresError, table: Table, body: Body | None) -> PlanebaseError | None:
    """Return the refusal that `error` stands for, with pointers into `body`; None for what nobody foresaw.

    Nothing of the driver's text or of the SQL goes into it.
    """
    state = str(error.sqlstate)
    if state in _LIMITS and body is None:
        return TooLarge("this is more than the database can answer at once: name fewer fields or records")
    known = _OURS.get(state) or _THEIRS.get(state)
    if known is not None:
        return known(error, table, body)
    if state.startswith("22"):
        return Invalid("a value does not fit its field", (Fault("", "invalid_value", "does not fit"),))
    return general(error)


def general(error: asyncpg.PostgresError) -> PlanebaseError | None:
    """Return the refusal that `error` stands for, whatever was called; None where it says more than that."""
    state = str(error.sqlstate)
    if state == "PB001":
        return StaleRoute("the tenant is moving")
    if state == "PB002":
        return StaleSchema("the schema is changing")
    if state.startswith(_LATER):
        return Unavailable("the database could not finish this in time; nothing was changed", code="busy")
    return None


def unique_field(error: asyncpg.PostgresError, table: Table) -> Field | None:
    """Return the field whose unique index refused a value."""
    return known_field(table, str(getattr(error, "constraint_name", "")))


def known_field(table: Table, constraint: str) -> Field | None:
    """Return the field whose unique index has this name; None where it is gone by now."""
    return table.by_id.get(constraint.removeprefix("u_"))


def duplicate(field: Field | None, places: Iterable[str]) -> Conflict:
    """Return the refusal of a value that may be there once."""
    where = "a field" if field is None else repr(field.name)
    detail = f"another record has this value in {where}, which is unique"
    faults = tuple(Fault(place, "duplicate_value", detail) for place in places)
    return Conflict(detail, faults[:_MAX_FAULTS], code="duplicate_value")


def _forbidden(error: Any, table: Table, body: Body | None) -> PlanebaseError:
    return Forbidden("this token may only read", code="read_only")


def _not_found(error: Any, table: Table, body: Body | None) -> PlanebaseError:
    hint = _hint(error)
    rows = hint if isinstance(hint, list) else ()
    missing = [row["n"] for row in rows if "n" in row and row.get("version") is None][:_MAX_FAULTS]
    # Of a delete, which has no body, the place is that of a parameter.
    places = [pointer("records", n, "id") if body is not None else f"id[{n}]" for n in missing]
    return NotFound(NO_RECORD, tuple(Fault(place, "not_found", NO_RECORD) for place in places))


def _precondition(error: Any, table: Table, body: Body | None) -> PlanebaseError:
    hint = _hint(error)
    if isinstance(hint, list):
        faults = tuple(
            Fault(pointer("records", h["n"], "version"), "stale", f"the record has version {h['version']}")
            for h in hint[:_MAX_FAULTS]
        )
        return PreconditionFailed("records have changed since they were read", faults)
    version = hint["version"]
    return PreconditionFailed(
        f"the record has changed since it was read: it has version {version}",
        (Fault("If-Match", "stale", f"the record has version {version}"),),
        version=version,
        headers={"ETag": f'"v{version}"'},
    )


def _in_flight(error: Any, table: Table, body: Body | None) -> PlanebaseError:
    return Conflict(
        "a call with this Idempotency-Key is under way",
        code="idempotency_in_flight",
        headers={"Retry-After": "1"},
    )


def _mismatch(error: Any, table: Table, body: Body | None) -> PlanebaseError:
    detail = "this Idempotency-Key was used for another request"
    return Invalid(detail, (Fault("Idempotency-Key", "mismatch", detail),), code="idempotency_mismatch")


def _repeated_key(error: Any, table: Table, body: Body | None) -> PlanebaseError:
    hint = _hint(error)
    field = table.by_id.get(hint["field"])
    name = "" if field is None else field.name
    detail = f"this value of {name!r} is here more than once, and would be one record"
    places = [pointer("records", n, "fields", name) for n in hint["n"][:_MAX_FAULTS]]
    faults = tuple(Fault(place, "repeated_key", detail) for place in places)
    return Invalid("a value of the field to merge on is here more than once", faults)


def _too_many(error: Any, table: Table, body: Body | None) -> PlanebaseError:
    return TooLarge("more records would be affected than may be at once", code="too_many_affected")


def _duplicate(error: Any, table: Table, body: Body | None) -> PlanebaseError:
    field = unique_field(error, table)
    if field is None:
        return Conflict("a record with this id exists")
    return duplicate(field, [pointer("fields", field.name)])


def _required(error: Any, table: Table, body: Body | None) -> PlanebaseError:
    field = table.by_id.get(str(error.column_name or error.constraint_name)[2:])
    name = field.name if field is not None else ""
    where = pointer("fields", name) if body is None or body.one else pointer("records")
    return Invalid(f"{name!r} is required", (Fault(where, "required", "required"),))


def _check(error: Any, table: Table, body: Body | None) -> PlanebaseError:
    if not error.constraint_name:
        # The change log has no partition for this month: ours to mend, and nothing that the caller sent.
        return Unavailable("writes are not possible at the moment", retry_after_s=60)
    return Invalid("a value is not allowed here", (Fault("", "not_allowed", "not allowed"),))


def _too_long(error: Any, table: Table, body: Body | None) -> PlanebaseError:
    return Invalid("a value is too long for the table's indexes", (Fault("", "too_long", "too long"),))


def _unlinked(error: Any, table: Table, body: Body | None) -> PlanebaseError:
    field = table.by_id.get(str(error.constraint_name).removeprefix("f_"))
    name, missing = "" if field is None else field.name, set(_hint(error))
    places = [
        pointer(
            *(("fields", name, m) if body is not None and body.one else ("records", n, "fields", name, m))
        )
        for n, record in enumerate(() if body is None else body.records)
        for m, record_id in enumerate(record["fields"].get(name) or ())
        if record_id in missing
    ]
    detail = f"{name!r} names what is no record of the linked table"
    faults = tuple(Fault(place, "unknown_record", detail) for place in places or [""])
    return Invalid(detail, faults[:_MAX_FAULTS])


def _hint(error: Any) -> Any:
    return json.loads(error.detail) if error.detail else None


_Means = Callable[[Any, Table, Body | None], PlanebaseError]
_OURS: dict[str, _Means] = {
    "PB403": _forbidden,
    "PB404": _not_found,
    "PB409": _in_flight,
    "PB412": _precondition,
    "PB413": _too_many,
    "PB421": _repeated_key,
    "PB422": _mismatch,
}
_THEIRS: dict[str, _Means] = {
    "23505": _duplicate,
    "23502": _required,
    "23514": _check,
    UNKNOWN: _unlinked,
}
_THEIRS |= dict.fromkeys(_LIMITS, _too_long)
