"""How much of what is costly goes on at a time in this process."""

import contextlib
from collections import Counter
from collections.abc import Iterator

from core.errors import RateLimited, Unavailable

_RETRY_S = 5


class Bound:
    """So many at a time, so many of one tenant, and no queue: who finds no room is told at once."""

    def __init__(self, most: int, most_each: int, what: str) -> None:
        self._most = most
        self._most_each = most_each
        self._what = what
        self._taken: Counter[str] = Counter()

    def has_room(self, tenant_id: str) -> bool:
        """Tell whether the tenant would find room."""
        return self._taken.total() < self._most and self._taken[tenant_id] < self._most_each

    @contextlib.contextmanager
    def room(self, tenant_id: str) -> Iterator[None]:
        """Take room for as long as one is inside; raises RateLimited or Unavailable where there is none."""
        if self._taken[tenant_id] >= self._most_each:
            raise RateLimited(
                f"a tenant may have {self._most_each} {self._what} here", retry_after_s=_RETRY_S
            )
        if self._taken.total() >= self._most:
            raise Unavailable(
                f"{self._most} {self._what} are under way already", code="overloaded", retry_after_s=_RETRY_S
            )
        self._taken[tenant_id] += 1
        try:
            yield
        finally:
            self._taken[tenant_id] -= 1
            if not self._taken[tenant_id]:
                del self._taken[tenant_id]
