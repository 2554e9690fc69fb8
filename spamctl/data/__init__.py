"""Read, clean and split labelled messages (the library)."""
