"""A mail receiver that keeps every message as a file and lists them over HTTP."""

import asyncio
import os
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session
from fastapi import FastAPI, HTTPException

from core import ids

_MESSAGE_MAX_BYTES = 1_000_000
_LISTED_MAX = 500


class Mailbox:
    """The folder of messages: a message is there whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def keep(self, content: bytes) -> str:
        """Write one message and return its name."""
        name = ids.new()
        part = self.folder / f".{name}.part"
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.rename(self.folder / f"{name}.eml")
        return name

    def newest(self) -> list[dict[str, Any]]:
        """Return the newest messages, newest first, with text."""
        return [_summary(file) for file in self._files()[:_LISTED_MAX]]

    def every(self) -> Iterator[dict[str, Any]]:
        """Go through all messages, newest first."""
        return map(_summary, self._files())

    def read(self, name: str) -> bytes | None:
        """Return one message as it came, or None."""
        if not ids.is_ulid(name):
            return None
        file = self.folder / f"{name}.eml"
        return file.read_bytes() if file.exists() else None

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*.eml"), reverse=True)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Take a message: 250 means that it is on disk (aiosmtpd calls this by its name)."""
        content = envelope.original_content or b""
        head = f"X-Rcpt-To: {', '.join(envelope.rcpt_tos)}\r\n".encode()
        name = await asyncio.to_thread(self.keep, head + content)
        return f"250 OK kept as {name}"


async def serve(mailbox: Mailbox, host: str, port: int) -> asyncio.Server:
    """Begin to receive mail; close the returned server to end it."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(
        lambda: SMTP(mailbox, data_size_limit=_MESSAGE_MAX_BYTES, hostname="sandbox", loop=loop), host, port
    )


def add_routes(app: FastAPI, mailbox: Mailbox) -> None:
    """Let `app` list the mails and show one."""

    @app.get("/mails")
    async def list_mails() -> dict[str, Any]:
        return {"mails": await asyncio.to_thread(mailbox.newest)}

    @app.get("/mails/{name}")
    async def read_mail(name: str) -> dict[str, Any]:
        content = await asyncio.to_thread(mailbox.read, name)
        if content is None:
            raise HTTPException(404, "there is no such mail")
        return {"id": name, "raw": content.decode(errors="replace")}


def _summary(file: Path) -> dict[str, Any]:
    mail = message_from_bytes(file.read_bytes(), policy=policy.default)
    body = mail.get_body(("plain",))
    return {
        "id": file.stem,
        "from": str(mail["from"] or ""),
        "to": str(mail["x-rcpt-to"] or ""),
        "subject": str(mail["subject"] or ""),
        "message_id": str(mail["message-id"] or ""),
        "text": body.get_content() if body is not None else "",
    }
