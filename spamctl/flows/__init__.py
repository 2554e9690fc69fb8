"""Define the steps of every verb; the computing is done in the rooms below."""
