"""Run long tasks to their end."""


def last(ticking):
    """Run a task that yields ticks to its end, and return what it ends with."""
    return told(ticking)[1]


def told(ticking):
    """Run a task to its end, and return all its ticks and what it ends with."""
    ticks = []
    while True:
        try:
            ticks.append(next(ticking))
        except StopIteration as end:
            return ticks, end.value
