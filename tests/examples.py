"""Count the examples on which a property is tried: as many as the run asks for, or a share where each takes longer."""

import os

from hypothesis import settings

EXAMPLES = int(os.environ.get("SPAMCTL_TESTS_EXAMPLES") or 20)


def examples(share):
    """Return settings for a share of the run's examples."""
    return settings(max_examples=max(round(share * EXAMPLES), 5))
