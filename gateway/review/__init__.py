"""What officers do: the workflow as a table, cases, commands and events."""
