"""On which database the tests run: `--on sqlite` (as it is without), or `--on postgresql`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import store


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--on", choices=("sqlite", "postgresql"), default="sqlite", help="keep banks there"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--on") == "sqlite" or hasattr(config, "workerinput"):
        return  # a worker finds the server of the process that began it in its environment
    told = os.environ.get("HGR_TEST_POSTGRESQL")
    if told:
        os.environ[store.ADDRESS] = told
        store.make_role()
        return
    folder = tempfile.TemporaryDirectory(
        prefix="hgr-postgresql-", dir=store.quick_place(), ignore_cleanup_errors=True
    )
    config.add_cleanup(folder.cleanup)
    server = store.start(Path(folder.name))
    config.add_cleanup(server.stop)
    store.make_role()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test of what only SQLite has says so (`sqlite`); on PostgreSQL it is not among the tests."""
    other = "sqlite" if config.getoption("--on") == "postgresql" else "postgresql"
    out = [each for each in items if each.get_closest_marker(other)]
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [each for each in items if each not in set(out)]


@pytest.fixture(autouse=True)
def _banks_go_with_their_test(request: pytest.FixtureRequest) -> Iterator[None]:
    if not store.is_postgresql():
        yield
        return
    folder = request.getfixturevalue("tmp_path")
    yield
    store.drop_under(folder)
