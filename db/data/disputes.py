"""What a caller needs who lost against another writer: the record that he knew, and the record as it is now."""

# ruff: noqa: S608  (see statements.py)

from functools import lru_cache

from core.record import Table
from db.data import names, statements
from db.data.records import Call, read
from db.data.statements import Statement, literal, physical

_KEPT = 512


async def sides(call: Call, record_id: str, known: int | None) -> bytes:
    """Return `{"base", "theirs"}`: the record at version `known`, and as it is now; null for what is not there.

    A base is kept as long as the change log keeps it.
    """
    version = b"null" if known is None else b"%d" % known
    answer = await read(call, _sides(call.table), b'{"version":%b}' % version, [record_id])
    return answer.body


@lru_cache(_KEPT)
def _sides(table: Table) -> Statement:
    now = _side("r", {f.name: statements.value_of(f) for f in table.fields})
    then = _side("c", {f.name: statements.logged(f) for f in table.fields})
    return Statement(
        f"""select json_object(
                     'base' value (select {then} from platform.changes c
                                    where c.tenant_id = {names.literal(table.tenant_id)}
                                      and c.table_id = {names.literal(table.id)} and c.record_id = $2[1]
                                      and c.version = ($1 -> 'version')::bigint and c.after is not null limit 1),
                     'theirs' value (select {now} from {physical(table)} r where r.id = $2[1]) returning json),
                   null::json"""
    )


def _side(row: str, values: dict[str, str]) -> str:
    fields = ", ".join(f"{literal(name)} value {value}" for name, value in values.items())
    return f"""json_object('version' value {row}.version, 'fields' value json_object({fields} returning json)
                           returning json)"""
