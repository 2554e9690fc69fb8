"""Declare what every verb can be asked for: one field per option, read by the door and by the flows."""
