"""The control of the kill test: a gateway that answers before COMMIT. It must lose decisions.

Run as `python -m tests.journeys.early_ack`; everything else is the real server.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

from gateway import bank, cli
from gateway.database import Database, Unit


class EarlyDatabase(Database):
    """Lets the answer go as soon as the unit has run, and commits a moment later."""

    def submit(self, unit: Unit[Any]) -> Future[Any]:
        early: Future[Any] = Future()

        def answer_then_wait(connection: Any) -> Any:
            result = unit(connection)
            early.set_result(result)
            # Far longer than COMMIT takes, so that a kill lands between answer and COMMIT.
            threading.Event().wait(0.05)
            return result

        done = super().submit(answer_then_wait)
        done.add_done_callback(
            lambda f: None if early.done() else early.set_exception(f.exception() or RuntimeError())
        )
        return early


if __name__ == "__main__":
    bank.Database = EarlyDatabase  # type: ignore[misc]
    cli.app(["serve"])
