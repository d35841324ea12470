"""`hgr serve` on a disk that takes 5 ms longer for every COMMIT; for `bench.decision`, never for a bank.

python -m bench.slow_commits        (settings as for `hgr serve`)
"""

from __future__ import annotations

import time

from sqlalchemy import Connection, Engine, event

from gateway import cli

SECONDS = 0.005


@event.listens_for(Engine, "commit")
def _late(_: Connection) -> None:
    time.sleep(SECONDS)  # as a disk would: the write lock is held, other threads run


if __name__ == "__main__":
    cli.app(["serve"])
