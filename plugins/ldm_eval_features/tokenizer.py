"""CLIP's tokenizer: lower-cased byte pair encoding with 49,408 tokens (arXiv:2103.00020), without further packages.

The merges are OpenAI's file ``bpe_simple_vocab_16e6.txt.gz`` (MIT, beside this module with its licence). The original
splits text with the ``regex`` package and repairs it with ``ftfy``; here the same classes of characters come from
``unicodedata``, and of ftfy's repairs those of quotes, full and half widths, ligatures and composed characters (NFC)
are made. For printable ASCII the tokens are the original's; text that was decoded wrongly is not repaired.
"""

from __future__ import annotations

import functools
import gzip
import html
import itertools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

VOCABULARY_FILE = Path(__file__).with_name("bpe_simple_vocab_16e6.txt.gz")
START, END = "<|startoftext|>", "<|endoftext|>"
_MERGES = 49152 - 256 - 2
_WORD_END = "</w>"
_SPACE = re.compile(r"\s+")
_SPECIAL = re.compile(r"<\|startoftext\|>|<\|endoftext\|>|'(?:s|t|re|ve|m|ll|d)", re.IGNORECASE)
_WIDE_AND_TIED = (*range(0xFF01, 0xFFEF), *map(ord, "ĲĳŉǄǅǆǇǈǉǊǋǌǱǲǳﬀﬁﬂﬃﬄﬅﬆ"))
_PLAIN = {
    **{code: unicodedata.normalize("NFKC", chr(code)) for code in _WIDE_AND_TIED},
    **dict.fromkeys(map(ord, "ʼ‘’‚‛"), "'"),
    **dict.fromkeys(map(ord, "“”„‟"), '"'),
}


class Tokenizer:
    """Text to token numbers.

    Args:
        merges: Pairs of symbols in order of preference; the published ones when left out.
    """

    def __init__(self, merges: Sequence[tuple[str, str]] | None = None) -> None:
        pairs = published_merges() if merges is None else merges
        symbols = list(_byte_symbols().values())
        vocabulary = [*symbols, *(symbol + _WORD_END for symbol in symbols), *("".join(pair) for pair in pairs)]
        self._numbers = {token: number for number, token in enumerate([*vocabulary, START, END])}
        self._ranks = {pair: rank for rank, pair in enumerate(pairs)}
        self._bytes = _byte_symbols()
        self._known: dict[str, list[int]] = {token: [self._numbers[token]] for token in (START, END)}

    def encode(self, text: str) -> list[int]:
        """Tokens of one text, without those that mark its start and end."""
        return [number for word in split(clean(text)) for number in self._word(word)]

    def __call__(self, texts: Sequence[str], context: int = 77) -> NDArray[np.int64]:
        """Tokens of N texts between start and end, ``(N, context)``, zeros behind them.

        A text of more than ``context - 2`` tokens loses those at its end (as ``truncate=True`` in the original).
        """
        tokens = np.zeros((len(texts), context), np.int64)
        for row, text in zip(tokens, texts, strict=True):
            inner = self.encode(text)[: context - 2]
            row[: len(inner) + 2] = [self._numbers[START], *inner, self._numbers[END]]
        return tokens

    def _word(self, word: str) -> list[int]:
        if word not in self._known:
            symbols = [self._bytes[byte] for byte in word.encode()]
            symbols[-1] += _WORD_END
            self._known[word] = [self._numbers[symbol] for symbol in self._merged(symbols)]
        return self._known[word]

    def _merged(self, symbols: list[str]) -> list[str]:
        """Join the most preferred pair wherever it stands, until no known pair is left."""
        while len(symbols) > 1:
            pair = min(itertools.pairwise(symbols), key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if pair not in self._ranks:
                break
            joined: list[str] = []
            for symbol in symbols:
                # a symbol joined just now ends with the second half and is never the first half's equal
                if joined and (joined[-1], symbol) == pair:
                    joined[-1] += symbol
                else:
                    joined.append(symbol)
            symbols = joined
        return symbols


@functools.cache
def published_merges() -> tuple[tuple[str, str], ...]:
    """The 48,894 pairs of OpenAI's file that CLIP uses."""
    with gzip.open(VOCABULARY_FILE, "rt", encoding="utf-8") as stream:
        lines = stream.read().split("\n")[1 : _MERGES + 1]
    pairs = [tuple(line.split()) for line in lines]
    return tuple((first, second) for first, second in pairs)


@functools.cache
def published_tokenizer() -> Tokenizer:
    """The tokenizer of every CLIP model of OpenAI."""
    return Tokenizer()


def clean(text: str) -> str:
    """Plain quotes and widths, no ligatures, composed characters, no HTML entities, single spaces, lower case."""
    text = unicodedata.normalize("NFC", text.translate(_PLAIN))
    return _SPACE.sub(" ", html.unescape(html.unescape(text))).strip().lower()


def split(text: str) -> Iterator[str]:
    """Words of a cleaned text: marks and English endings, runs of letters, single digits, runs of all else."""
    kinds = "".join(map(_kind, text))
    position = 0
    while position < len(text):
        special = _SPECIAL.match(text, position)
        kind = kinds[position]
        end = position + 1
        if special:
            end = special.end()
        elif kind in "LO":
            while end < len(text) and kinds[end] == kind:
                end += 1
        if special or kind != "S":
            yield text[position:end]
        position = end


@functools.lru_cache(maxsize=4096)
def _kind(character: str) -> str:
    """L for letters, N for numbers, S for white space, O for all else."""
    category = unicodedata.category(character)[0]
    if category in "LN":
        return category
    return "S" if character.isspace() else "O"


@functools.cache
def _byte_symbols() -> dict[int, str]:
    """A printable character for each of the 256 bytes: itself where it has one, else from 256 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + place) for place, byte in enumerate(others)}
