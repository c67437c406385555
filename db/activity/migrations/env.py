"""Alembic's entry to the history of database activity."""

from db.activity.models import Base
from db.migrate import run_environment

run_environment(Base.metadata)
