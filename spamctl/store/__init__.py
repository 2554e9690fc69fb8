"""Store every answer and its label in SQLite or PostgreSQL (the archive)."""
