"""API tokens: `pb_`, 32 random bytes in base62, and a checksum by which a leak or a slip shows offline."""

import hashlib
import secrets
import string
import zlib
from dataclasses import dataclass

PREFIX = "pb_"
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SECRET_BYTES = 32
_SECRET_CHARS = 43  # 62 ** 43 > 2 ** 256
_CHECKSUM_CHARS = 6  # 62 ** 6 > 2 ** 32
_CHARS = len(PREFIX) + _SECRET_CHARS + _CHECKSUM_CHARS
_HINT_CHARS = 8
_SHA256 = hashlib.sha256()


@dataclass(frozen=True)
class NewToken:
    """A token at the one moment when its text is known: `secret` is shown once, the others are kept."""

    secret: str
    hash: str
    hint: str


def make() -> NewToken:
    """Return a token that nobody has seen."""
    body = PREFIX + _base62(int.from_bytes(secrets.token_bytes(_SECRET_BYTES)), _SECRET_CHARS)
    secret = body + _checksum(body)
    return NewToken(secret, digest(secret), hint(secret))


def is_well_formed(text: str) -> bool:
    """Tell whether `text` has a token's shape and checksum: no database is asked about any other."""
    if len(text) != _CHARS or not text.startswith(PREFIX) or not text.isascii():
        return False
    return text[-_CHECKSUM_CHARS:] == _checksum(text[:-_CHECKSUM_CHARS])


def digest(secret: str) -> str:
    """Return what is stored of a token: 256 random bits need no slow hash."""
    made = _SHA256.copy()  # to look the algorithm up costs more than to use it
    made.update(secret.encode())
    return made.hexdigest()


def hint(secret: str) -> str:
    """Return the first characters, by which a person tells tokens apart."""
    return secret[:_HINT_CHARS]


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECKSUM_CHARS)


def _base62(value: int, chars: int) -> str:
    digits = []
    for _ in range(chars):
        value, digit = divmod(value, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
