"""Compute the gradients of a batch in one of several processes: `torchrun tests/training/gradients.py MODEL OUT`."""

import sys

import torch
from safetensors.torch import save_file
from torch import distributed

from spamctl.training import loop, workers
from spamctl.training.base_model import load_trunk
from spamctl.training.features import TokenIds
from spamctl.training.loop import Part, TrainingConfig
from spamctl.training.model import SpamClassifier
from tests import tiny_models

ROWS = range(1, 24)  # an odd number of rows, so that the processes have unequal shares


def gradients(folder):
    """Return the mean loss of a batch, and its gradients, by name."""
    rows = [tiny_models.tokenizer().encode(message.text) for message in tiny_models.messages()]
    labels = [message.is_spam for message in tiny_models.messages()]
    train = Part(TokenIds(rows), labels, [1.0 + row % 3 for row in range(len(rows))])
    torch.manual_seed(1)
    classifier = SpamClassifier(load_trunk(folder))
    classifier.prepare("full")
    classifier.trunk.window(0, classifier.trunk.depth)
    weights = classifier.learnt()
    parts = loop._parts(workers.own(ROWS), train.inputs.lengths)
    shares = loop._shares(train)
    loss = sum(loop._backward(classifier, train, part, len(ROWS), shares, TrainingConfig()) for part in parts)
    loss = workers.add_gradients(list(weights.values()), loss)
    return loss, {name: weight.grad for name, weight in weights.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    mean, found = gradients(sys.argv[1])
    if workers.rank() == 0:
        save_file(found | {"loss": torch.tensor(mean)}, sys.argv[2])
    distributed.destroy_process_group()
