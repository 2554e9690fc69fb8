"""Nouns that cross rooms: frozen dataclasses, and their JSON on the wire and on disk.

Each module holds what one verb answers and its parts. `codec` writes them as JSON and reads them back, in one place; a
room takes and returns the dataclasses, and JSON exists only where it enters or leaves the process: an event of a step,
a file, a request. Not here: rows of the store's tables (`store/rows.py`) and options (`config/`).
"""
