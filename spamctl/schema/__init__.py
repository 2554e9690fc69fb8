"""Define the nouns that cross rooms."""
