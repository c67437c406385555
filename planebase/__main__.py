"""The `planebase` command, quiet from its first moment: what it needs is loaded after Ctrl-C is heeded."""

import os
import signal
import sys

INTERRUPTED = 130


def main() -> None:
    """Run the command, and end at once then: Temporal's client may abort an interpreter that winds down."""
    # Where a shell has it ignored, in the background, it stays ignored.
    heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeded:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    import contextlib

    from planebase.cli import app

    code: object = None
    try:
        if heeded:
            # From here on something may have been started, which is stopped on the way out.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        app()
    except SystemExit as error:
        code = error.code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except PermissionError as error:  # a stack's folder is its owner's
        print(f"planebase: {error.strerror}: {error.filename}", file=sys.stderr)
        code = 1
    with contextlib.suppress(BrokenPipeError):  # whoever read has enough
        sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1 if code else 0)


if __name__ == "__main__":
    main()
