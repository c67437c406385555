"""Messages that leave the platform: mail, and HTTP to addresses that tenants name, so no address is trusted."""

import asyncio
import ipaddress
import socket
import time
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote, urlsplit

import aiosmtplib
import httpx

from core import notification
from core.errors import Invalid
from core.notification import Target

_RESOLVE_TIMEOUT_S = 5.0
_CONNECT_TIMEOUT_S = 5.0
_TOTAL_TIMEOUT_S = 15.0


class Refused(Exception):
    """This may not or cannot be sent; trying again does not help."""


class Failed(Exception):
    """It did not arrive this time."""


@dataclass(frozen=True)
class Answer:
    """What a receiver answered; its body was read up to a bound and thrown away."""

    status: int
    retry_after: str | None


async def post(
    url: str,
    body: bytes,
    headers: dict[str, str],
    *,
    allow_private: bool = False,
    timeout_s: float = _TOTAL_TIMEOUT_S,
) -> Answer:
    """POST once: to the address that was vetted, without redirects or proxies, bounded in time and bytes."""
    try:
        target = notification.target(url, allow_private=allow_private)
    except Invalid as error:
        raise Refused(error.detail) from error
    try:
        async with asyncio.timeout(timeout_s):
            address = await resolve(target, allow_private=allow_private)
            return await _post(target, address, body, headers)
    except TimeoutError as error:
        raise Failed(f"no answer within {timeout_s:g} s") from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise Failed(_words(error)) from error


def _words(error: Exception) -> str:
    """Say what went wrong without the library's own words: those may hold the address, which is a secret."""
    match error:
        case httpx.TimeoutException():
            return "no answer in time"
        case httpx.ConnectError() if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return "the receiver's certificate does not hold"
        case httpx.ConnectError():
            return "the receiver cannot be reached"
        case httpx.NetworkError() | httpx.RemoteProtocolError():
            return "the receiver broke off or answered what is no HTTP"
        case _:
            return f"the request could not be made: {type(error).__name__}"


async def resolve(target: Target, *, allow_private: bool = False) -> str:
    """Return the one address to connect to: a name is looked up once, so it cannot mean another one later."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_RESOLVE_TIMEOUT_S):
            found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise Failed(f"the host's name cannot be resolved: {error.strerror}") from error
    except UnicodeError as error:
        raise Refused("the host's name cannot be read") from error
    refusals = []
    for *_, place in found:
        address = ipaddress.ip_address(str(place[0]).partition("%")[0])
        why = None if allow_private else notification.refusal(address)
        if why is None:
            return str(address)
        refusals.append(why)
    raise Refused(f"the address is not a public one: {', '.join(sorted(set(refusals))) or 'none'}"[:300])


async def _post(target: Target, address: str, body: bytes, headers: dict[str, str]) -> Answer:
    host = f"[{address}]" if ":" in address else address
    named = f"[{target.host}]" if ":" in target.host else target.host
    default = 443 if target.scheme == "https" else 80
    headers = {**headers, "Host": named if target.port == default else f"{named}:{target.port}"}
    timeout = httpx.Timeout(_TOTAL_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S)
    async with (
        httpx.AsyncClient(timeout=timeout, trust_env=False, follow_redirects=False) as client,
        client.stream(
            "POST",
            f"{target.scheme}://{host}:{target.port}{target.path}",
            content=body,
            headers=headers,
            # The certificate is checked for the name, though the connection goes to the vetted address.
            extensions={"sni_hostname": target.host},
        ) as answer,
    ):
        read = 0
        async for chunk in answer.aiter_raw():
            read += len(chunk)
            if read > notification.ANSWER_MAX_BYTES:
                break
        return Answer(answer.status_code, answer.headers.get("retry-after"))


def signed(message_id: str, body: bytes, secret: str | None) -> dict[str, str]:
    """Return the Standard Webhooks headers of one attempt; unsigned where there is no secret."""
    now_s = int(time.time())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Planebase-Webhooks/1",
        "webhook-id": message_id,
        "webhook-timestamp": str(now_s),
    }
    if secret is not None:
        headers["webhook-signature"] = notification.sign(message_id, now_s, body, secret)
    return headers


@dataclass(frozen=True)
class Mailer:
    """The mail server, as `smtp://user:password@host:port` or `smtps://…`."""

    url: str
    sender: str

    async def send(self, message_id: str, to: str, subject: str, text: str) -> None:
        """Hand one mail over; its Message-ID is the same in each attempt. Raises Refused and Failed."""
        parts = urlsplit(self.url)
        message = EmailMessage()
        try:
            message["From"], message["To"], message["Subject"] = self.sender, to, subject
        except ValueError as error:
            raise Refused("this is no mail address") from error
        message["Date"] = formatdate()
        message["Message-ID"] = f"<{message_id}@{self.sender.rpartition('@')[2]}>"
        message.set_content(text)
        login: dict[str, Any] = {}
        if parts.username is not None:
            login = {"username": unquote(parts.username), "password": unquote(parts.password or "")}
        try:
            await aiosmtplib.send(
                message,
                hostname=parts.hostname or "localhost",
                port=parts.port or (465 if parts.scheme == "smtps" else 25),
                use_tls=parts.scheme == "smtps",
                timeout=_TOTAL_TIMEOUT_S,
                **login,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = {recipient.code for recipient in error.recipients}
            raise (Refused if min(codes, default=0) >= 500 else Failed)(
                f"recipient refused: {codes}"
            ) from error
        except aiosmtplib.SMTPResponseException as error:
            raise Failed(f"the mail server answered {error.code}") from error
        except (aiosmtplib.SMTPException, OSError) as error:
            raise Failed(f"the mail server cannot be reached: {type(error).__name__}") from error
