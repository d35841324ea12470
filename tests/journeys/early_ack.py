"""The control of the kill test: a gateway that answers before COMMIT. It must lose decisions.

Everything but this one line of order is the real server (`tests.journeys.serving`).
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

from gateway import bank as banks
from gateway.database import Database, Unit

#: Far longer than COMMIT takes, so that a kill lands between answer and COMMIT.
LATE_SECONDS = 0.05


class EarlyDatabase(Database):
    """Lets the answer go as soon as the unit has run, and commits a moment later."""

    def submit(self, unit: Unit[Any]) -> Future[Any]:
        early: Future[Any] = Future()

        def answer_then_wait(connection: Any) -> Any:
            result = unit(connection)
            early.set_result(result)
            threading.Event().wait(LATE_SECONDS)
            return result

        def pass_on_what_failed(done: Future[Any]) -> None:
            error = done.exception()
            if error is not None and not early.done():
                early.set_exception(error)

        super().submit(answer_then_wait).add_done_callback(pass_on_what_failed)
        return early


def install() -> None:
    """From here on this process opens its bank so."""
    banks.Database = EarlyDatabase  # type: ignore[attr-defined]
