"""The app over a real bank, called in this thread: no network, no server, the lifespan run for real."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from fastapi import FastAPI

T = TypeVar("T")


class Door:
    """A client of one app. `as_` sends a credential; the app's loop lives in a thread of its own."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._opened = self.app.router.lifespan_context(self.app)
        self.run(self._opened.__aenter__())
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.run(self._client.aclose())
        self.run(self._opened.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def request(
        self, method: str, path: str, *, as_: str | None = None, **kwargs: Any
    ) -> httpx.Response:
        headers = dict(kwargs.pop("headers", {}))
        if as_ is not None:
            headers["Authorization"] = f"Bearer {as_}"
        return self.run(self._client.request(method, path, headers=headers, **kwargs))

    def get(self, path: str, **kwargs: Any) -> httpx.Response:
        return self.request("GET", path, **kwargs)

    def post(self, path: str, **kwargs: Any) -> httpx.Response:
        return self.request("POST", path, **kwargs)

    def patch(self, path: str, body: Mapping[str, Any], **kwargs: Any) -> httpx.Response:
        headers = {"Content-Type": "application/merge-patch+json"} | kwargs.pop("headers", {})
        content = json.dumps(body).encode()
        return self.request("PATCH", path, content=content, headers=headers, **kwargs)


def good(answer: httpx.Response, status: int = 200) -> Any:
    """The JSON of an answer that came out with this status."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    return answer.json()


Serving = Callable[[], Door]
