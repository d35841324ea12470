"""The migrations of a bank's database, run by Alembic under `gateway.bank.migrate`."""
