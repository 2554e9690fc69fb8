"""Share tiny models, and messages they can learn from, between the tests of the workshop."""

import pytest

from tests import tiny_models
from tests.made_once import folder_made_once


@pytest.fixture(scope="session")
def tiny_gpt2():
    """Return the folder of a GPT-2 of 3 blocks with random weights, as a user would save it."""
    return folder_made_once("tiny-gpt2", tiny_models.save_gpt2)


@pytest.fixture(scope="session")
def tiny_llama():
    """Return the folder of a Llama of 4 blocks with random weights."""
    return folder_made_once("tiny-llama", tiny_models.save_llama)


@pytest.fixture(scope="session")
def messages():
    """Return 200 labelled messages, half of them spam, no two alike even without their digits."""
    return tiny_models.messages()
