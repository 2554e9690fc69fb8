"""Keep every answer and its truth in SQLite or PostgreSQL (the archive)."""
