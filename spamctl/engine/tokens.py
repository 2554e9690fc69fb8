"""Tokenize messages by one rule for training and for serving."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tokenizers import Encoding, Regex, Tokenizer, normalizers, processors

from spamctl.data.cleaning import UNSEEN, clean, fold
from spamctl.engine.ngrams import NgramExpert, Vocabulary
from spamctl.errors import ArtefactError, DataError

# A token seldom spans more characters; text beyond this is cut before it is tokenised: 10 MB cost no more than a page.
# Of a long text, what is drawn as nothing goes before it is cut: else enough of it would push all words out of sight.
CHARACTERS_PER_TOKEN = 32
TAIL_SHARE = 0.25  # of the window that the end of a long message gets: what a mail wants often stands there
MESSAGE = "{message}"  # the place of a message in a prompt
LEAST_ROOM = 8  # tokens of a message beside the prompt
TOKENIZER = "tokenizer.json"
LOOKALIKES = "lookalikes.json"
NGRAMS = "ngrams.bin"
WORDS = "words.bin"
NO_TWINS: Mapping[str, str] = MappingProxyType({})
# `cleaning.UNSEEN` as the tokenizer's library writes it.
_UNSEEN = (
    r"[\x{AD}\x{34F}\x{61C}\x{115F}\x{1160}\x{17B4}\x{17B5}\x{180B}-\x{180F}\x{200B}-\x{200F}\x{202A}-\x{202E}"
    r"\x{2060}-\x{206F}\x{3164}\x{FE00}-\x{FE0F}\x{FEFF}\x{FFA0}\x{FFF0}-\x{FFF8}\x{1BCA0}-\x{1BCA3}"
    r"\x{1D173}-\x{1D17A}\x{E0000}-\x{E0FFF}]"
)


@dataclass(frozen=True, slots=True)
class TokenRow:
    """Token ids of a message (at least one), whether its text was cut to the window, and its n-gram features.

    `margin` is added to the language model's logit; it is 0 where there is no second expert, as while training.
    `novelty` is the share of the message that is unlike the training data, 0 to 1; 0 where no vocabulary tells.
    """

    ids: list[int]
    truncated: bool
    margin: float = 0.0
    novelty: float = 0.0


class MessageTokenizer:
    """Tokenizer that cleans and truncates messages; special tokens written inside a text stay plain text.

    A message of more than `max_tokens` keeps its beginning and its last `tail_tokens`, without what is in between.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        max_tokens: int,
        empty_id: int,
        tail_tokens: int = 0,
        lookalikes: Mapping[str, str] = NO_TWINS,
    ) -> None:
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_tokens)
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.tail_tokens = tail_tokens
        self.empty_id = empty_id
        self.lookalikes = lookalikes
        self.expert: NgramExpert | None = None
        self.vocabulary: Vocabulary | None = None

    @classmethod
    def of_base(
        cls,
        tokenizer: Tokenizer,
        *,
        max_tokens: int,
        empty_id: int,
        lookalikes: Mapping[str, str] = NO_TWINS,
        prompt: str = "",
    ) -> MessageTokenizer:
        """Adapt a base model's tokenizer to read what a person sees: NFKC, without invisible characters.

        So `fr\u200bee` and fullwidth letters hide no word. Every message is put into `prompt`, where that says
        MESSAGE. Both rules are part of the `tokenizer.json` that is packaged. Raises DataError where the window has no
        room for the prompt and a few words.
        """
        own = [tokenizer.normalizer] if tokenizer.normalizer else []
        seen = [normalizers.NFKC(), normalizers.Replace(Regex(_UNSEEN), ""), normalizers.NFKC()]  # marks may now meet
        tokenizer.normalizer = normalizers.Sequence([*seen, *own])
        if prompt:
            taken = put_into_prompt(tokenizer, prompt)
            if max_tokens < taken + LEAST_ROOM:
                raise DataError(
                    f"--max-tokens {max_tokens}: --prompt takes {taken} of them; give at least {taken + LEAST_ROOM}, "
                    "or --prompt none"
                )
        tail = int(max_tokens * TAIL_SHARE)
        return cls(tokenizer, max_tokens=max_tokens, empty_id=empty_id, tail_tokens=tail, lookalikes=lookalikes)

    @classmethod
    def from_file(cls, path: Path, *, max_tokens: int, empty_id: int, tail_tokens: int = 0) -> MessageTokenizer:
        """Read a `tokenizer.json` and the files beside it; raise ArtefactError if it is none."""
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise ArtefactError(f"{path.name} is not a tokenizer: {error}") from error
        twins, ngrams, words = _read_twins(path.with_name(LOOKALIKES)), path.with_name(NGRAMS), path.with_name(WORDS)
        found = cls(tokenizer, max_tokens=max_tokens, empty_id=empty_id, tail_tokens=tail_tokens, lookalikes=twins)
        found.expert = NgramExpert.from_bytes(ngrams.read_bytes()) if ngrams.is_file() else None
        found.vocabulary = Vocabulary.from_bytes(words.read_bytes()) if words.is_file() else None
        return found

    def encode(self, texts: Sequence[str]) -> list[TokenRow]:
        """Return one TokenRow a text, in order; where a row has no token at all, it becomes the end-of-text token."""
        limit = self._limit
        texts = [text if len(text) <= limit or text.isascii() else UNSEEN.sub("", text) for text in texts]
        cleaned = self.cleaned(texts)
        encodings = self._tokenizer.encode_batch([self._ends(text, limit) for text in cleaned])
        return [
            TokenRow(
                self._cut(encoding) or [self.empty_id],
                bool(encoding.overflowing) or len(text) > limit or len(whole) > 2 * limit,
                self.expert.margin(text) if self.expert else 0.0,
                self.vocabulary.novelty(text) if self.vocabulary else 0.0,
            )
            for encoding, text, whole in zip(encodings, cleaned, texts, strict=True)
        ]

    def _ends(self, text: str, limit: int) -> str:
        """Return a text of at most `limit` characters: its beginning, and its end where the window holds one."""
        if len(text) <= limit:
            return text
        end = limit * self.tail_tokens // self.max_tokens
        return text[: limit - end] + text[len(text) - end :]

    def _cut(self, encoding: Encoding) -> list[int]:
        """Return at most `max_tokens` ids; what the tokenizer puts around every message stays around it."""
        if not (encoding.overflowing and self.tail_tokens):
            return encoding.ids
        opening, content, closing = _parts(encoding)
        beyond = [one for part in encoding.overflowing for one in _parts(part)[1]]
        kept = max(0, len(content) - self.tail_tokens)
        return [*opening, *content[:kept], *[*content, *beyond][kept - len(content) :], *closing]

    def prompt_tokens(self) -> tuple[tuple[int, ...], int]:
        """Return the tokens that a prompt puts before every message, and how many it puts behind, or else 1.

        Where there is no question behind it, what comes before belongs to the message: alone it is all of an empty one.
        """
        opening, _, closing = _parts(self._tokenizer.encode("a"))
        return tuple(opening if closing else ()), max(1, len(closing))

    def cleaned(self, texts: Sequence[str]) -> list[str]:
        """Return what both experts, and the vocabulary, read of each text."""
        return [fold(clean(self._ends(text, 2 * self._limit)), self.lookalikes) for text in texts]

    @property
    def _limit(self) -> int:
        """Return how many characters of a text may come before the end of the window."""
        return self.max_tokens * CHARACTERS_PER_TOKEN

    def files(self) -> dict[str, bytes]:
        """Return the files of a package that hold this: `tokenizer.json`, and each other part if there is any."""
        found = {TOKENIZER: str(self._tokenizer.to_str()).encode()}
        if self.lookalikes:
            found[LOOKALIKES] = json.dumps(dict(self.lookalikes)).encode()
        if self.expert:
            found[NGRAMS] = self.expert.to_bytes()
        if self.vocabulary:
            found[WORDS] = self.vocabulary.bits
        return found


def put_into_prompt(tokenizer: Tokenizer, prompt: str) -> int:
    """Have a tokenizer put each message into a prompt, where that says MESSAGE; return how many tokens that takes.

    The prompt's tokens are what the tokenizer puts around every message, as it does with a token for the beginning;
    that one comes first of all, and one for the end goes.
    """
    before, _, _ = _parts(tokenizer.encode("a"))
    ends = {"opening": before, "closing": []}
    for name, text in zip(ends, prompt.split(MESSAGE), strict=True):
        ends[name] = ends[name] + tokenizer.encode(text, add_special_tokens=False).ids
    pieces = [
        {"id": name, "ids": ids, "tokens": [tokenizer.id_to_token(one) for one in ids]}
        for name, ids in ends.items()
        if ids
    ]
    single = [f"{piece['id']}:0" for piece in pieces]
    single.insert(1 if ends["opening"] else 0, "$A:0")
    around = processors.TemplateProcessing(single=" ".join(single), special_tokens=pieces)
    own = [tokenizer.post_processor] if tokenizer.post_processor and not before else []
    tokenizer.post_processor = processors.Sequence([*own, around]) if own else around
    return sum(map(len, ends.values()))


def _parts(encoding: Encoding) -> tuple[list[int], list[int], list[int]]:
    """Return the ids that the tokenizer puts before a text, those of the text, and those behind it."""
    special = encoding.special_tokens_mask
    if 0 not in special:
        return encoding.ids, [], []
    first, last = special.index(0), len(special) - special[::-1].index(0)
    return encoding.ids[:first], encoding.ids[first:last], encoding.ids[last:]


def _read_twins(path: Path) -> Mapping[str, str]:
    """Return the look-alikes that a package folds: none if it was made before there were any."""
    if not path.is_file():
        return NO_TWINS
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise ArtefactError(f"{path.name} is not JSON ({error}); download or train again") from error
    if not (isinstance(found, dict) and all(isinstance(letter, str) for letter in found.values())):
        raise ArtefactError(f"{path.name} does not map letters to letters; download or train again")
    return found


def unknown_ids(tokenizer: Tokenizer, empty_id: int, embeddings: int) -> list[int]:
    """Return the ids that a message may be turned into, and that a model with so many embeddings does not know.

    Special tokens are none of them, unless the tokenizer puts them around every message: inside a text they stay text.
    """
    added = tokenizer.get_added_tokens_decoder()
    ids = {empty_id, *tokenizer.get_vocab(with_added_tokens=False).values(), *tokenizer.encode("a").ids}
    ids |= {one for one, token in added.items() if not token.special}
    return sorted(one for one in ids if one >= embeddings)
