"""The tokens of the model and their tokenizer: byte-level BPE whose only merges make words of two letters."""

import string
from dataclasses import dataclass
from functools import cached_property

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

END_OF_TEXT = "<|endoftext|>"
WRONG = "<|wrong|>"
"""What the MTP head drafts once its limit is used up. The target never says it."""

MULTIPLE = 64
"""Matrix kernels have fast paths for multiples of this; published models pad their vocabulary to it as well."""

PAIR_STRIDE = 7
"""Coprime to 26 * 26, so that stepping by it visits every pair of letters once, spread over the alphabet."""

SPACE = "Ġ"
"""The printable character that stands for the byte 32 in byte-level BPE."""

# The pattern of the Qwen2 tokenizer, because llama.cpp knows pre-tokenizers by name only ("qwen2"): a word takes the
# space before it, every digit is alone.
PRE_TOKENIZER_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class Vocabulary:
    """The tokens for a cycle of `word_count` words, in the order of their ids.

    First the two special tokens, then the 256 bytes, so that any prompt can be written; then every word without and
    with a space before it (BPE needs the first to make the second); then padding.
    """

    word_count: int

    def __post_init__(self) -> None:
        largest = len(string.ascii_lowercase) ** 2
        if not 2 <= self.word_count <= largest:
            raise ValueError(f"word_count is {self.word_count}; a cycle has 2 to {largest} words of two letters")

    @cached_property
    def _pairs(self) -> list[str]:
        pairs = [first + second for first in string.ascii_lowercase for second in string.ascii_lowercase]
        return [pairs[index * PAIR_STRIDE % len(pairs)] for index in range(self.word_count)]

    @cached_property
    def tokens(self) -> list[str]:
        """All tokens; the index is the id."""
        spaced = [SPACE + pair for pair in self._pairs]
        used = [END_OF_TEXT, WRONG, *sorted(ByteLevel.alphabet()), *self._pairs, *spaced]
        return used + [f"<|unused{index}|>" for index in range(-len(used) % MULTIPLE)]

    @cached_property
    def merges(self) -> list[tuple[str, str]]:
        """The BPE merges, the first to be tried first."""
        return [(pair[0], pair[1]) for pair in self._pairs] + [(SPACE, pair) for pair in self._pairs]

    @property
    def words(self) -> list[int]:
        """The ids of the words with a space before them: the tokens of the cycle."""
        first = self.tokens.index(SPACE + self._pairs[0])
        return list(range(first, first + self.word_count))

    @property
    def end_of_text(self) -> int:
        """The id of the token that ends a text. The model never generates it."""
        return self.tokens.index(END_OF_TEXT)

    @property
    def wrong(self) -> int:
        """The id of the token that stands for a wrong draft."""
        return self.tokens.index(WRONG)

    @property
    def special(self) -> list[int]:
        """The ids of the tokens that no text contains."""
        return [index for index, token in enumerate(self.tokens) if token.startswith("<|")]

    def tokenizer(self) -> Tokenizer:
        """The tokenizer, ready to be used or saved."""
        tokenizer = Tokenizer(BPE({token: index for index, token in enumerate(self.tokens)}, self.merges))
        tokenizer.pre_tokenizer = Sequence(
            [
                Split(Regex(PRE_TOKENIZER_PATTERN), behavior="isolated"),
                ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        tokenizer.decoder = ByteLevelDecoder()
        tokenizer.add_special_tokens(
            [AddedToken(self.tokens[index], special=True, normalized=False) for index in self.special]
        )
        return tokenizer
