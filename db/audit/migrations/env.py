"""Alembic's entry to the history of database audit."""

from db.audit.models import Base
from db.migrate import run_environment

run_environment(Base.metadata)
