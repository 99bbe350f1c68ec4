"""CLIP's tokens: known ones, and those of two other implementations on the same merges."""

from __future__ import annotations

import hashlib
import string
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ldm_eval_features.tokenizer import (
    VOCABULARY_FILE,
    Tokenizer,
    clean,
    published_merges,
    published_tokenizer,
    split,
)

TEXTS = [
    "a photo of a cat",
    "A PHOTO of  a\tCat!",
    "it's the dog's 2nd birthday, isn't it?",
    "1234567890 3.14159 -- $5.00 (50% off) #hashtag @home_alone e-mail",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "<|startoftext|> hello <|endoftext|>world",
    "a pão de açúcar, ein Mädchen, 漢字とかな, Привет, emoji 🐈‍⬛ ²½Ⅷ",
    "aaaaaaaaaaaaaaaaaaa lololololol ''' ```'s 'S",
    "",
]


def test_the_merges_are_openais_file() -> None:
    digest = hashlib.sha256(VOCABULARY_FILE.read_bytes()).hexdigest()
    assert digest == "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"
    assert VOCABULARY_FILE.with_name("bpe_simple_vocab_16e6.LICENSE").is_file()
    assert len(published_merges()) == 48894


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("a photo of a cat", [320, 1125, 539, 320, 2368]),
        ("a photo of a dog", [320, 1125, 539, 320, 1929]),
        ("Hello, world!", [3306, 267, 1002, 256]),
        ("", []),
        ("<|endoftext|>", [49407]),
    ],
)
def test_tokens_are_the_known_ones(text: str, tokens: list[int]) -> None:
    assert published_tokenizer().encode(text) == tokens


def test_rows_are_marked_filled_and_cut() -> None:
    tokens = published_tokenizer()(["a cat", "a " * 100])
    assert tokens.shape == (2, 77)
    assert tokens[0, :5].tolist() == [49406, 320, 2368, 49407, 0]
    assert tokens[1].tolist() == [49406, *[320] * 75, 49407]
    assert tokens.argmax(axis=1).tolist() == [3, 76]


def test_a_small_vocabulary_joins_its_preferred_pairs_first() -> None:
    tokenizer = Tokenizer([("b", "c</w>"), ("a", "b"), ("a", "bc</w>")])
    first = 512
    assert tokenizer.encode("abc") == [first + 2]
    assert tokenizer.encode("abab") == [first + 1, ord("a") - ord("!"), 256 + ord("b") - ord("!")]
    assert tokenizer.encode("aab") == [*[ord("a") - ord("!")] * 2, 256 + ord("b") - ord("!")]


def test_typographic_quotes_and_entities_are_plain_ones() -> None:
    plain = published_tokenizer().encode('it\'s a "cat" & a dog')
    assert published_tokenizer().encode("it’s a “cat” &amp; a  dog ") == plain
    assert published_tokenizer().encode("it&amp;#39;s a &quot;cat&quot; &amp;amp; a dog") == plain


def test_ligatures_and_other_widths_are_plain_letters() -> None:
    plain = published_tokenizer().encode("five officers, 24 ABC カ")
    assert published_tokenizer().encode("ﬁve oﬃcers, ２４ ＡＢＣ ｶ") == plain


def test_composed_and_combined_characters_are_one() -> None:
    assert published_tokenizer().encode("cafe\u0301") == published_tokenizer().encode("café")


@pytest.fixture(scope="module")
def hugging_face() -> Any:
    """Another implementation, with the same merges."""
    transformers = pytest.importorskip("transformers")
    ours = published_tokenizer()
    merges = [" ".join(pair) for pair in published_merges()]
    return transformers.CLIPTokenizer(vocab=dict(ours._numbers), merges=[tuple(merge.split(" ")) for merge in merges])


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_are_those_of_another_implementation(text: str, hugging_face: Any) -> None:
    assert [49406, *published_tokenizer().encode(text), 49407] == hugging_face(text)["input_ids"]


def test_printable_text_gives_the_tokens_of_another_implementation(hugging_face: Any) -> None:
    characters = np.array(
        list(string.ascii_letters * 3 + string.digits + string.punctuation.replace("&", "") + " " * 30)
    )
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(characters, rng.integers(1, 60))) for _ in range(300)]
    for text, theirs in zip(texts, hugging_face(texts)["input_ids"], strict=True):
        assert [49406, *published_tokenizer().encode(text), 49407] == theirs


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from(string.printable + "éßÜ中ｱ٣½²Ⅷſ_'"), max_size=20))
def test_words_are_those_of_the_original_expression(text: str) -> None:
    regex = pytest.importorskip("regex")
    pattern = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    cleaned = clean(text)
    assert list(split(cleaned)) == regex.findall(pattern, cleaned, regex.IGNORECASE)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_every_text_has_tokens(text: str) -> None:
    tokens = published_tokenizer()([text])
    assert tokens[0, 0] == 49406
    assert 49407 in tokens[0]
    assert tokens.max() < 49408
