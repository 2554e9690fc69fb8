"""Run long tasks to their end."""


def last(ticking):
    """Run a task that yields ticks to its end, and return what it ends with."""
    while True:
        try:
            next(ticking)
        except StopIteration as end:
            return end.value
