"""Quota snapshots, alerts and notifications."""

from db.migrate import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the schema of the first release."""
    run_sql("0001_alarms.sql", __file__)
