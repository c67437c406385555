"""Alembic's entry to the history of database audit."""

from db.migrate import run_environment

run_environment(None)
