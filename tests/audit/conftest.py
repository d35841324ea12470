from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.audit import bank


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = bank.new_bank(tmp_path / "bank.db")
    yield made
    made.dispose()
