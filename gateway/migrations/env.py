"""Alembic's way in: runs the migrations on the connection that `gateway.bank` hands over.

There is no offline mode and no connection of its own: only the process that holds the bank's file may
change it.
"""

from alembic import context

from gateway.errors import SettingsError

connection = context.config.attributes["connection"]

# Both keep DDL in transactions (SQLite as we open them ourselves): a migration that fails leaves nothing.
context.configure(connection=connection, transactional_ddl=True, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
    # PostgreSQL enforced them all the while.
    if (
        connection.dialect.name == "sqlite"
        and connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None
    ):
        raise SettingsError("a row holds a reference to nothing; the schema is as it was")
