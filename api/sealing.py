"""Secrets that a database keeps for a while: sealed, so that what is stored there opens nothing."""

import json
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from pydantic import SecretStr


class Sealer:
    """Seals and opens texts under the process's key."""

    def __init__(self, key: SecretStr) -> None:
        self._fernet = Fernet(key.get_secret_value())

    def seal(self, text: str) -> str:
        """Return `text` sealed."""
        return self._fernet.encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str | None:
        """Return what was sealed, or None where that was done under another key."""
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken:
            return None

    def wrap(self, body: str) -> dict[str, Any]:
        """Return the JSON value that stands for a body with a secret in it."""
        return {"sealed": self.seal(body)}

    def unwrap(self, value: Any) -> str | None:
        """Return the body that a stored JSON value stands for, or None where it cannot be opened."""
        if isinstance(value, dict):
            return self.open(value["sealed"])
        return value if isinstance(value, str) else json.dumps(value)
