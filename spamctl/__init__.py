"""Train, serve and monitor a spam filter of your own."""

__version__ = "0.2.0"

# Metaflow ships this whole package with a flow's code, so that a step can run on another machine.
METAFLOW_PACKAGE_POLICY = "include"
