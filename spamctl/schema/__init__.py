"""Nouns that cross rooms, as frozen dataclasses that import no other room, and their one way to and from JSON."""
