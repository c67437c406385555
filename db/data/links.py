"""Links as SQL: the ids that a record shows, what a write may name, and the pairs that serve the other side.

A link is a column of ids, so the change log has it. What RLS guards can be searched by leakproof operators only, and
containment of arrays is none: therefore triggers keep each link as pairs too, in a table of its own. Nothing is deleted
from a link when a record that it names is deleted: reading leaves such an id out, and restoring brings it back.
"""

# ruff: noqa: S608  (see statements.py)

from core.record import Field, Link
from core.schema.types.link import MAX_LINKS
from db.data import names

UNKNOWN = "22L01"
"""The SQLSTATE of a write that names what is no record of the linked table."""


def link_of(field: Field) -> Link:
    """Return where the records of a link or an inverse are."""
    if field.link is None:
        raise ValueError(f"{field.id} is no link")
    return field.link


def target(field: Field) -> str:
    """Return the physical table whose records a link or an inverse has."""
    link = link_of(field)
    return names.table(link.tenant_id, link.table_id)


def shown(field: Field, row: str) -> str:
    """Return the array of ids that record `row` shows: of a link in the stored order, of an inverse in their own."""
    if not field.type.in_record:
        # Pairs come and go with the record that holds them, so each of these is there.
        return (
            f"array(select lp.source::text from {_pairs(field)} lp where lp.target = {row}.id"
            f" order by lp.source limit {MAX_LINKS})"
        )
    return there(field, f"unnest({row}.{names.column(field.id)})")


def there(field: Field, ids: str) -> str:
    """Return those of `ids`, a set of texts, that are records of the linked table, in the given order: an array."""
    # A value, which is looked up in the index for each id: a join was planned over the whole table for each record.
    is_there = f"(select true from {target(field)} lt where lt.id = lu.id)"
    return f"array(select lu.id from {ids} with ordinality as lu(id, n) where {is_there} order by lu.n)"


def logged(field: Field, side: str, record_id: str) -> str:
    """Return what a record of the change log shows: of a link what it held then, of an inverse what it has now."""
    if not field.type.in_record:
        return (
            f"to_json(array(select lp.source::text from {_pairs(field)} lp where lp.target = {record_id}"
            f" order by lp.source limit {MAX_LINKS}))"
        )
    held = f"jsonb_array_elements_text(nullif({side} -> '{names.column_name(field.id)}', 'null'))"
    return f"to_json({there(field, held)})"


def is_linked(field: Field, row: str, other: str) -> str:
    """Return the condition that record `row` shows record `other` of the linked table in this field."""
    if not field.type.in_record:
        return f"{other}.id in (select lp.source from {_pairs(field)} lp where lp.target = {row}.id)"
    return f"{other}.id = any ({row}.{names.column(field.id)})"


def has_any(field: Field, row: str, ids: str) -> str:
    """Return the condition that record `row` shows one of `ids`, an array of texts, in this field: by an index."""
    if not field.type.in_record:
        return f"{row}.id in (select lp.target from {_pairs(field)} lp where lp.source = any ({ids}))"
    return (
        f"{row}.id in (select lp.source from {_pairs(field)} lp join {target(field)} lt on lt.id = lp.target"
        f" where lp.target = any ({ids}))"
    )


def checked(field: Field, value: str) -> str:
    """Return the ids in the JSON `value`, null for none; refuses what is no record of the linked table.

    It looks as the tenant's role within its claims, so what belongs to somebody else is what is not there.
    """
    found = f"array(select lt.id::text from {target(field)} lt where lt.id = any (lw.ids))"
    return (
        f"case jsonb_typeof({value}) when 'array' then"
        f" (select platform.linked('{names.column_name(field.id)}', lw.ids, {found})"
        f" from (select array(select jsonb_array_elements_text({value})) as ids offset 0) lw) end"
    )


def kept(field: Field, value: str, row: str) -> str:
    """Return `value`, or what is stored where `value` is what `row` shows: sent back as read, nothing changes."""
    column = f"{row}.{names.column(field.id)}"
    return f"case when coalesce({value}, '{{}}') = {shown(field, row)} then {column} else {value} end"


def _pairs(field: Field) -> str:
    link = link_of(field)
    return names.pairs(link.tenant_id, link.field_id)
