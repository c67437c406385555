"""`python -m planebase.sandbox`: payments over HTTP and a mail receiver over SMTP, until told to stop."""

import argparse
import asyncio
import os
import sys
from pathlib import Path

import uvicorn

from planebase.sandbox import mail, payments


def _arguments() -> argparse.Namespace:
    env = {
        name: os.environ.get(f"PLANEBASE_SANDBOX_{name}")
        for name in ("HOST", "PORT", "SMTP_PORT", "DATA_DIR")
    }
    parser = argparse.ArgumentParser(prog="python -m planebase.sandbox", description=__doc__)
    parser.add_argument("--host", default=env["HOST"] or "127.0.0.1")
    parser.add_argument("--http-port", type=int, default=env["PORT"], required=env["PORT"] is None)
    parser.add_argument("--smtp-port", type=int, default=env["SMTP_PORT"], required=env["SMTP_PORT"] is None)
    parser.add_argument("--dir", type=Path, default=env["DATA_DIR"], required=env["DATA_DIR"] is None)
    return parser.parse_args()


async def serve(host: str, http_port: int, smtp_port: int, folder: Path, key: str) -> None:
    """Serve both until SIGTERM or SIGINT; what was taken is on disk."""
    ledger = payments.Ledger(folder / "payments.db")
    mailbox = mail.Mailbox(folder / "mails")
    app = payments.create_app(ledger, key)
    mail.add_routes(app, mailbox)
    smtp = await mail.serve(mailbox, host, smtp_port)
    try:
        # A hanging charge must not hold up the end.
        config = uvicorn.Config(
            app, host=host, port=http_port, log_level="warning", timeout_graceful_shutdown=1
        )
        await uvicorn.Server(config).serve()
    finally:
        smtp.close()
        ledger.close()


def main() -> None:
    """Read the arguments (or PLANEBASE_SANDBOX_*) and serve."""
    arguments = _arguments()
    key = os.environ.get("PLANEBASE_SANDBOX_KEY", "")
    if not key:
        sys.exit("PLANEBASE_SANDBOX_KEY is not set: the key that a caller has to know")
    asyncio.run(serve(arguments.host, arguments.http_port, arguments.smtp_port, arguments.dir, key))


if __name__ == "__main__":
    main()
