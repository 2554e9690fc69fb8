"""Declare the options of every verb: one field per option, read by the command line and by the flows."""
