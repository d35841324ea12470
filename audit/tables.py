"""The tables of the log: SQLAlchemy Core, on their own metadata, for SQLite and PostgreSQL.

Owned by `audit.log`; nobody else writes here. `log_leaf` is only ever added to. The gateway's
migrations create these tables from `metadata`.
"""

from typing import Final

from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, SmallInteger, String, Table, Text

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_ORIGIN: Final = String(200)

# One row per log. Locked by every append; its compare-and-swap is what gives the order.
log_head: Final = Table(
    "log_head",
    metadata,
    Column("origin", _ORIGIN, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    # The complete subtrees' roots, largest first, end to end: enough to append and to know the
    # root without the tiles, so that the tiles can be checked against it.
    Column("frontier", LargeBinary, nullable=False),
    Column("last_time_us", BigInteger, nullable=False),  # microseconds since 1970, UTC
    Column("epoch", BigInteger, nullable=False),
)

log_leaf: Final = Table(
    "log_leaf",
    metadata,
    Column("origin", _ORIGIN, primary_key=True),
    Column("idx", BigInteger, primary_key=True, autoincrement=False),
    Column("leaf", LargeBinary, nullable=False),  # verbatim, never re-serialised
    Column("leaf_hash", LargeBinary, nullable=False),
)

log_tile: Final = Table(
    "log_tile",
    metadata,
    Column("origin", _ORIGIN, primary_key=True),
    Column("level", SmallInteger, primary_key=True, autoincrement=False),
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),  # 1 to 256 hashes
)

# The primary key is what makes two different notes of one size impossible.
log_checkpoint: Final = Table(
    "log_checkpoint",
    metadata,
    Column("origin", _ORIGIN, primary_key=True),
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("note", LargeBinary, nullable=False),
)

log_document: Final = Table(
    "log_document",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

# May be erased row by row: the commitment in the leaf then can never be opened again.
log_opening: Final = Table(
    "log_opening",
    metadata,
    Column("origin", _ORIGIN, primary_key=True),
    Column("idx", BigInteger, primary_key=True, autoincrement=False),
    Column("name", String(200), primary_key=True),
    Column("salt", LargeBinary, nullable=False),
    Column("value", Text, nullable=False),
)
