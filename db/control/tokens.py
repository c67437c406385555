"""Data API tokens: hashes, never secrets."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from core.ids import Ulid
from db.control.models import ApiToken, BaseRow
from db.sessions import ControlSession


@dataclass(frozen=True)
class Found:
    """A token and the workspace that it is bound to, by itself or through its base."""

    token: ApiToken
    workspace_id: Ulid | None


async def create(
    session: ControlSession,
    *,
    token_id: Ulid,
    tenant_id: Ulid,
    workspace_id: Ulid | None,
    base_id: Ulid | None,
    name: str,
    hint: str,
    token_hash: str,
    scopes: Sequence[str],
    created_by_user: Ulid | None,
    expires_at: datetime | None,
) -> ApiToken:
    """Write a token."""
    query = (
        insert(ApiToken)
        .values(
            id=token_id,
            tenant_id=tenant_id,
            workspace_id=workspace_id,
            base_id=base_id,
            name=name,
            hint=hint,
            token_hash=token_hash,
            scopes=list(scopes),
            created_by_user=created_by_user,
            expires_at=expires_at,
        )
        .returning(ApiToken)
    )
    return (await session.scalars(query)).one()


async def get(session: ControlSession, token_id: Ulid) -> Found | None:
    """Return one token."""
    row = (await session.execute(_with_workspace().where(ApiToken.id == token_id))).one_or_none()
    return None if row is None else Found(row[0], row[1])


async def page(
    session: ControlSession,
    tenant_id: Ulid,
    *,
    workspaces: Sequence[Ulid] | None,
    after: Ulid | None,
    limit: int,
) -> Sequence[ApiToken]:
    """Return a tenant's tokens by id; with `workspaces`, only those bound to one of them, or to none."""
    query = _with_workspace().where(ApiToken.tenant_id == tenant_id).order_by(ApiToken.id).limit(limit)
    if workspaces is not None:
        bound_to = func.coalesce(ApiToken.workspace_id, BaseRow.workspace_id)
        query = query.where(or_(bound_to.is_(None), bound_to.in_(workspaces)))
    if after is not None:
        query = query.where(ApiToken.id > after)
    return [row[0] for row in await session.execute(query)]


async def revoke(session: ControlSession, token_id: Ulid) -> bool:
    """End a token, as the Data API hears at commit; False when it was revoked before, and its time stays."""
    query = (
        update(ApiToken)
        .where(ApiToken.id == token_id, ApiToken.revoked_at.is_(None))
        .values(revoked_at=func.now())
        .returning(ApiToken.id)
    )
    return await session.scalar(query) is not None


def _with_workspace() -> Select[ApiToken, Ulid | None]:
    return select(ApiToken, func.coalesce(ApiToken.workspace_id, BaseRow.workspace_id)).outerjoin(
        BaseRow, BaseRow.id == ApiToken.base_id
    )
