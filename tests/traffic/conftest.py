"""Give the stage a test part to play with."""

import pytest

from spamctl.schema.message import Message
from spamctl.traffic.synthetic import messages


@pytest.fixture(scope="session")
def real():
    """Return 200 different messages, a quarter of them spam, as a test part would hold."""
    made = messages(260, seed=2003, era="2003", spam_share=0.25)
    return list(dict.fromkeys(Message(one.text, one.label) for one in made))[:200]
