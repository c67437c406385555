"""Alembic's entry to the history of database alarms."""

from db.alarms.models import Base
from db.migrate import run_environment

run_environment(Base.metadata)
