"""
Runs the shop under uvicorn, for a supervisor that looks at exit codes.

`python -m examples.fastapi_service --port 8000`; with port 0 the system chooses one, and uvicorn's log names it.
"""

from __future__ import annotations

import argparse
import signal
import sys

import uvicorn

from examples.fastapi_service.service import app


def main() -> int:
    """The exit code: 0 after SIGTERM, 1 if the billing has failed."""
    parser = argparse.ArgumentParser(prog="python -m examples.fastapi_service")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--grace", type=int, default=10, help="seconds for clients that do not read, default 10")
    options = parser.parse_args()
    # When all is closed uvicorn raises the signal again, for whoever handled it before; nothing is left to do then.
    signal.signal(signal.SIGTERM, lambda *_: None)
    uvicorn.run(app, port=options.port, timeout_graceful_shutdown=options.grace)
    billing = app.state.billing
    return int(billing.cancelled() or billing.exception() is not None)


if __name__ == "__main__":
    sys.exit(main())
