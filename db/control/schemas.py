"""Rows of `control.schema_registry`: every version of every base's spec, and how far it came."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Row, text

from core.ids import Ulid
from core.schema.plan import Plan, load_plan
from core.schema.spec import BaseSpec, ddl_hash, read_spec
from db.sessions import ControlSession

VersionState = Literal["applying", "applied", "failed"]

MAX_PAGE = 200
_SELECT = """
    select version, state, ddl_hash, operation_id, created_at, applied_at from control.schema_registry """


@dataclass(frozen=True)
class Latest:
    """The last applied version of a base; version 0 is the empty base that nothing was applied to yet."""

    version: int
    spec: BaseSpec


@dataclass(frozen=True)
class Version:
    """One version of a base, without its spec."""

    version: int
    state: VersionState
    ddl_hash: str
    operation_id: Ulid
    created_at: datetime
    applied_at: datetime | None


@dataclass(frozen=True)
class Application:
    """A version on its way: what is to be done, by which operation, and how far it is."""

    version: int
    state: VersionState
    operation_id: Ulid
    plan: Plan


async def latest(session: ControlSession, base_id: Ulid) -> Latest:
    """Return the last applied version of a base, with its spec."""
    row = (
        await session.execute(
            text("""
                select version, spec_json from control.schema_registry
                 where base_id = :base_id and state = 'applied' order by version desc limit 1"""),
            {"base_id": base_id},
        )
    ).one_or_none()
    return Latest(0, BaseSpec()) if row is None else Latest(row.version, read_spec(row.spec_json))


async def history(
    session: ControlSession, base_id: Ulid, *, limit: int = 50, before: int | None = None
) -> list[Version]:
    """Return a base's versions, newest first, at most `limit` (200) of them older than `before`."""
    rows = await session.execute(
        text(
            _SELECT
            + """
             where base_id = :base_id and (cast(:before as bigint) is null or version < :before)
             order by version desc limit :limit"""
        ),
        {"base_id": base_id, "before": before, "limit": min(limit, MAX_PAGE)},
    )
    return [Version(**row._mapping) for row in rows]


async def spec_of(session: ControlSession, base_id: Ulid, version: int) -> BaseSpec | None:
    """Return the spec of one version, whatever became of it; None when there is no such version."""
    spec = await session.scalar(
        text("""
            select spec_json from control.schema_registry where base_id = :base_id and version = :version"""),
        {"base_id": base_id, "version": version},
    )
    return None if spec is None else read_spec(spec)


async def application(session: ControlSession, operation_id: Ulid) -> Application | None:
    """Return the version that an operation applies, or None where it has not planned one."""
    return await _application(session, "operation_id = :id", operation_id)


async def under_way(session: ControlSession, base_id: Ulid) -> Application | None:
    """Return the version of a base that is being applied, or was when its run was ended from outside."""
    return await _application(session, "base_id = :id and state = 'applying'", base_id)


async def begin(
    session: ControlSession, operation_id: Ulid, tenant_id: Ulid, base_id: Ulid, plan: Plan
) -> Application:
    """Write the next version as `applying`; the database refuses a second one of the same base."""
    # Failed versions keep their number: what was tried is on record.
    row = (
        await session.execute(
            text("""
                insert into control.schema_registry
                       (id, tenant_id, base_id, version, ddl_hash, spec_json, plan_json, state, operation_id)
                select cast(:operation_id as text), :tenant_id, cast(:base_id as text),
                       coalesce(max(version), 0) + 1, :ddl_hash, cast(:spec as jsonb), cast(:plan as jsonb),
                       'applying', cast(:operation_id as text)
                  from control.schema_registry where base_id = cast(:base_id as text)
                returning version"""),
            {
                "operation_id": operation_id,
                "tenant_id": tenant_id,
                "base_id": base_id,
                "ddl_hash": ddl_hash(plan.spec),
                "spec": plan.spec.model_dump_json(),
                "plan": json.dumps(plan.model_dump(mode="json")),
            },
        )
    ).one()
    return Application(row.version, "applying", operation_id, plan)


async def settle(session: ControlSession, operation_id: Ulid, state: Literal["applied", "failed"]) -> bool:
    """End a version that is `applying`. Repeating it changes nothing and answers False."""
    done = await session.execute(
        text("""
            update control.schema_registry
               set state = cast(:state as text),
                   applied_at = case when cast(:state as text) = 'applied' then now() end
             where operation_id = :operation_id and state = 'applying' returning version"""),
        {"operation_id": operation_id, "state": state},
    )
    return done.one_or_none() is not None


async def _application(session: ControlSession, where: str, key: Ulid) -> Application | None:
    found = await session.execute(
        text(
            "select version, state, operation_id, plan_json from control.schema_registry where "  # noqa: S608
            + where
        ),
        {"id": key},
    )
    row: Row[Any] | None = found.one_or_none()
    if row is None:
        return None
    return Application(row.version, row.state, row.operation_id, load_plan(row.plan_json))
