"""Make real language models of a few thousand weights, and messages that they can learn from."""

from functools import cache
from itertools import product
from pathlib import Path
from random import Random

from spamctl.schema.message import NOT_SPAM, SPAM, Message

END_OF_TEXT = "<|endoftext|>"
WINDOW = 512  # tokens, as much as `--max-tokens` asks for by default and more
WIDTH = 32

OFFERS = ["a free cruise", "cheap gold", "our big prize", "a cash reward", "hot new ringtones", "an instant loan"]
CALLS = ["Call now", "Reply YES", "Click the link", "Text WIN today", "Claim it before midnight"]
HOOKS = ["Congratulations winner!", "URGENT notice:", "Last chance!!", "Dear lucky customer,", "You were chosen:"]
PLANS = ["eat soup", "walk the dog", "see the play", "fix the bike", "read together", "visit grandma"]
TIMES = ["after work", "on sunday", "when it rains", "around noon", "before class"]
MOODS = ["Hey,", "Sorry I was late.", "Morning!", "Okay then,", "Thanks for the help."]


def messages(count: int = 200, seed: int = 0) -> list[Message]:
    """Return `count` messages (at most 300), no two alike even without their digits; every other one is spam."""
    random = Random(seed)
    spam = [Message(f"{hook} Get {offer}. {call}", SPAM) for hook, offer, call in product(HOOKS, OFFERS, CALLS)]
    rest = [Message(f"{mood} shall we {plan} {time}?", NOT_SPAM) for mood, plan, time in product(MOODS, PLANS, TIMES)]
    pairs = zip(random.sample(spam, len(spam)), random.sample(rest, len(rest)), strict=True)
    return [message for pair in pairs for message in pair][:count]


@cache
def tokenizer():
    """Return a byte-level BPE tokenizer of 384 tokens, trained on the messages; the end-of-text token ends the list."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    byte_pairs = Tokenizer(models.BPE())
    byte_pairs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    byte_pairs.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=383, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    byte_pairs.train_from_iterator([message.text for message in messages()], trainer)
    special = dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT)
    return PreTrainedTokenizerFast(tokenizer_object=byte_pairs, model_max_length=WINDOW, **special)


def gpt2_config(**changes):
    """Return the configuration of a GPT-2 of 3 blocks."""
    from transformers import GPT2Config

    size = {"n_layer": 3, "n_embd": WIDTH, "n_head": 4, "n_positions": WINDOW, "initializer_range": 0.2}
    return GPT2Config(**(_of_tokenizer() | size | changes))


def llama_config(**changes):
    """Return the configuration of a Llama of 4 blocks that share keys between heads."""
    from transformers import LlamaConfig

    size = {"num_hidden_layers": 4, "hidden_size": WIDTH, "intermediate_size": 64, "max_position_embeddings": WINDOW}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.2}
    return LlamaConfig(**(_of_tokenizer() | size | heads | changes))


def causal_model(config, seed: int = 0):
    """Return a causal language model with random weights, always the same for a seed."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config).eval()


def save(folder: Path, config) -> Path:
    """Save a model of random weights and the tiny tokenizer into a folder, as `save_pretrained` does."""
    causal_model(config).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def save_gpt2(folder: Path) -> Path:
    """Save a GPT-2 of 3 blocks into a folder."""
    return save(folder, gpt2_config())


def save_llama(folder: Path, **changes) -> Path:
    """Save a Llama of 4 blocks into a folder."""
    return save(folder, llama_config(**changes))


def _of_tokenizer() -> dict[str, int]:
    end = tokenizer().eos_token_id
    return {"vocab_size": len(tokenizer()), "bos_token_id": end, "eos_token_id": end, "pad_token_id": None}
