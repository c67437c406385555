"""What activities of every process have in common: whose work it is, and how often it was tried."""

from datetime import timedelta

from pydantic import BaseModel, ConfigDict

ALIVE = timedelta(seconds=5)
"""Up to this heartbeat timeout the interceptor beats for the activity: a killed worker is noticed within it.

What hangs is not noticed so; hence only for work that the database's own timeouts bound.
"""


class Subject(BaseModel):
    """The head of every activity's input: the log line of each attempt names these."""

    model_config = ConfigDict(frozen=True)
    operation_id: str
    tenant_id: str | None = None
    base_id: str | None = None


class Outcome(BaseModel):
    """The head of every activity's result; the interceptor fills in how many tries it took."""

    attempts: int = 1

    @property
    def tries(self) -> int:
        """How often it was tried, as the run's table shows it."""
        return self.attempts
