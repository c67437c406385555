"""The Activity DB's partitions."""

from sqlalchemy import text

from core.retention import Months
from db.sessions import ActivitySession


async def ensure(session: ActivitySession, months: Months) -> int:
    """Make the partitions of `months` that are not there yet; returns how many that were."""
    # A new partition locks its parent: better to come again than to let every writer queue behind us.
    await session.execute(text("set local lock_timeout = '2s'"))
    made = await session.scalar(
        text("select activity.ensure_partitions(:first, :after)"),
        {"first": months.first, "after": months.after},
    )
    return int(made or 0)
