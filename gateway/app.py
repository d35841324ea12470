"""The application: routes, the door before them, and the checkpoint kept fresh.

    app = create_app(bank)      # refuses to exist if a route names no scope

While it runs, a checkpoint is published at the start, every second in which the log grew, and at the
end. If publishing finds the log in doubt nothing is written any more; proofs are still served.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi import FastAPI

from audit import log
from audit.check import checkpoint_of
from gateway import pep
from gateway.api import (
    administrator,
    contract,
    door,
    oauth,
    officer,
    openings,
    public,
    registry,
    regulator,
    releases,
    researcher,
)
from gateway.api.door import Door
from gateway.bank import Bank
from gateway.errors import CommitUnknownError, ProblemError, SettingsError
from gateway.identity.caller import install, unscoped_routes
from gateway.web import laws

_log = logging.getLogger("gateway")

#: How often a checkpoint is published while the log grows, in seconds.
EVERY = 1.0

ROUTERS = (
    public.router,
    public.log_router,
    oauth.router,
    researcher.router,
    releases.router,
    officer.router,
    registry.router,
    openings.router,
    administrator.router,
    regulator.router,
    laws.router,
)


@dataclass(slots=True)
class Doubt:
    """Why nothing may be written any more; empty while all is well. The publisher owns it."""

    reason: str = ""


def create_app(bank: Bank) -> FastAPI:
    """The app over one open bank. Raises `SettingsError` naming every route without a scope."""
    app = routes()
    install(app, bank)
    app.state.doubt = doubt = Doubt()
    app.add_middleware(
        Door, body_bytes=bank.settings.body_bytes, in_doubt=lambda: bool(doubt.reason)
    )
    return app


def routes() -> FastAPI:
    """The app without a bank: enough to read its contract, not to serve it."""
    # /docs and /redoc load scripts from elsewhere; the contract itself is served by a route of ours.
    app = FastAPI(
        title="HGR gateway",
        version=contract.VERSION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=_lifespan,
        redirect_slashes=False,
    )
    door.install(app)
    for router in ROUTERS:
        app.include_router(router)
    unscoped = unscoped_routes(app)
    if unscoped:
        raise SettingsError(f"these routes name no scope: {', '.join(unscoped)}")
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    bank: Bank = app.state.bank
    await _end_expired(bank)
    await publish(bank)  # a log that cannot be published stops the start
    keeping = asyncio.create_task(_keep_publishing(bank, app.state.doubt))
    try:
        yield
    finally:
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping
        if not app.state.doubt.reason and not bank.database.is_closed:
            await publish(bank)


async def publish(bank: Bank) -> None:
    """Publish a checkpoint of the newest state, if there is none."""
    await bank.database.write_async(lambda conn: log.publish(conn, bank.origin, bank.keys.log))


async def _end_expired(bank: Bank) -> None:
    try:
        await pep.end_expired(bank)
    except ProblemError:
        # A ledger that does not agree keeps nobody from the log, and lets nothing out: a release looks
        # at the last day itself.
        _log.exception("expired grants could not be ended; `hgr ledger check` says what is wrong")


async def _keep_publishing(bank: Bank, doubt: Doubt) -> None:
    day = bank.today()
    while not doubt.reason:
        await asyncio.sleep(EVERY)
        if bank.database.is_closed:
            return
        try:
            if bank.today() != day:
                day = bank.today()
                await _end_expired(bank)
            if await asyncio.to_thread(_has_grown, bank):
                await publish(bank)
        except log.LogError as error:
            # reliability §5: on any doubt about the head stop writing, keep serving proofs.
            doubt.reason = str(error)
            _log.critical("the log is in doubt, nothing is written any more: %s", error)
        except CommitUnknownError:
            _log.exception("a checkpoint may not have been stored; it is tried again")


def _has_grown(bank: Bank) -> bool:
    with bank.database.read() as conn:
        note = log.latest_checkpoint(conn, bank.origin)
        size = log.head(conn, bank.origin).size
    return note is None or checkpoint_of(note, bank.origin).size < size
