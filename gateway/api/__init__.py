"""The JSON routes and their schemas, a file per audience."""
