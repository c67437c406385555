"""Alembic's entry to the history of database control."""

from db.control.models import Base
from db.migrate import run_environment

run_environment(Base.metadata)
