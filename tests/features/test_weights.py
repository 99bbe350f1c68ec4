"""Weights: where they come from, and what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
from pathlib import Path

import pytest
import torch
from ldm_eval_features import recipes, weights
from ldm_eval_features.weights import PublishedWeights

from ldm_eval.api import ExtractorContext
from ldm_eval.errors import ConfigError

CONTENT = b"these are weights"


@pytest.fixture
def published(tmp_path: Path) -> PublishedWeights:
    source = tmp_path / "server" / "net.pth"
    source.parent.mkdir()
    source.write_bytes(CONTENT)
    return PublishedWeights("net.pth", source.as_uri(), hashlib.sha256(CONTENT).hexdigest())


def _context(tmp_path: Path, *, offline: bool = False, given: Path | None = None) -> ExtractorContext:
    return ExtractorContext("cpu", offline, tmp_path / "cache", given)


def test_weights_are_fetched_once_and_then_found_offline(tmp_path: Path, published: PublishedWeights) -> None:
    path = weights.find(published, _context(tmp_path))
    assert path.read_bytes() == CONTENT
    (tmp_path / "server" / "net.pth").unlink()
    assert weights.find(published, _context(tmp_path, offline=True)) == path
    assert [file.name for file in path.parent.iterdir()] == ["net.pth"]


def test_a_download_with_another_digest_is_not_kept(tmp_path: Path, published: PublishedWeights) -> None:
    wrong = dataclasses.replace(published, sha256="0" * 64)
    with pytest.raises(ConfigError, match=r"expected 0000.*--extractor-weights FILE"):
        weights.find(wrong, _context(tmp_path))
    assert not list((tmp_path / "cache").iterdir())


def test_a_failed_download_says_how_to_supply_the_file(tmp_path: Path, published: PublishedWeights) -> None:
    (tmp_path / "server" / "net.pth").unlink()
    with pytest.raises(ConfigError, match=r"could not be fetched .*--extractor-weights FILE"):
        weights.find(published, _context(tmp_path))
    assert not list((tmp_path / "cache").iterdir())


def test_a_damaged_cache_is_fetched_again_and_never_used_offline(tmp_path: Path, published: PublishedWeights) -> None:
    path = weights.find(published, _context(tmp_path))
    path.write_bytes(CONTENT[:5])
    with pytest.raises(ConfigError, match="--offline"):
        weights.find(published, _context(tmp_path, offline=True))
    assert weights.find(published, _context(tmp_path)).read_bytes() == CONTENT


def test_offline_names_the_file_its_digest_and_the_option(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        recipes.load_inception_2015(_context(tmp_path, offline=True))
    message = str(caught.value)
    for part in ("pt_inception-2015-12-05-6726825d.pth", "6726825d0af5f729", "--offline", "--extractor-weights FILE"):
        assert part in message


def test_a_given_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        recipes.load_inception_2015(_context(tmp_path, given=tmp_path / "nowhere.pth"))


def test_inception_takes_a_given_file_and_says_that_it_is_not_the_published_one(
    tmp_path: Path, inception_weights: dict[str, torch.Tensor]
) -> None:
    torch.save(inception_weights, tmp_path / "w.pth")
    extractor = recipes.load_inception_2015(_context(tmp_path, offline=True, given=tmp_path / "w.pth"))
    assert extractor.info.name == "inception-2015-unverified"


def test_a_pickle_that_wants_to_run_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    witness = tmp_path / "it-ran"

    class Payload:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.touch, (witness,)

    for save in (torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))):
        save({"fc.weight": Payload()}, tmp_path / "evil.pth")
        with pytest.raises(ConfigError, match="cannot be read"):
            recipes.load_inception_2015(_context(tmp_path, given=tmp_path / "evil.pth"))
        assert not witness.exists()


@pytest.mark.parametrize("keep", [0, 10, 1000])
def test_a_truncated_file_is_one_clear_error(
    tmp_path: Path, keep: int, inception_weights: dict[str, torch.Tensor]
) -> None:
    torch.save({"fc.bias": inception_weights["fc.bias"]}, tmp_path / "w.pth")
    (tmp_path / "w.pth").write_bytes((tmp_path / "w.pth").read_bytes()[:keep])
    with pytest.raises(ConfigError, match=r"'.*w\.pth' cannot be read"):
        recipes.load_inception_2015(_context(tmp_path, given=tmp_path / "w.pth"))


def test_weights_of_another_network_are_named(tmp_path: Path, inception_weights: dict[str, torch.Tensor]) -> None:
    changed = dict(inception_weights)
    changed["extra"] = changed.pop("fc.bias")
    changed["fc.weight"] = torch.zeros(1000, 2048)
    torch.save(changed, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match=r"missing \(fc\.bias\).*unknown \(extra\).*another shape \(fc\.weight\)"):
        recipes.load_inception_2015(_context(tmp_path, given=tmp_path / "w.pth"))


@pytest.mark.parametrize(("content", "words"), [([1, 2], "state dict"), ({"a": 1}, "state dict")])
def test_other_contents_are_refused(tmp_path: Path, content: object, words: str) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match=words):
        recipes.load_inception_2015(_context(tmp_path, given=tmp_path / "w.pth"))


def test_weights_that_are_not_finite_are_refused(tmp_path: Path, inception_weights: dict[str, torch.Tensor]) -> None:
    broken = {**inception_weights, "fc.bias": torch.full((1008,), torch.nan)}
    torch.save(broken, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match=r"'fc\.bias' .*not finite"):
        recipes.load_inception_2015(_context(tmp_path, given=tmp_path / "w.pth"))


def test_a_copy_in_another_container_counts_as_published_by_its_own_digest(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "w.bin")
    digest = hashlib.sha256((tmp_path / "w.bin").read_bytes()).hexdigest()
    main = PublishedWeights("w.pth", "https://example.org/w.pth", "0" * 64)
    assert not weights.read(tmp_path / "w.bin", main).published
    assert weights.read(tmp_path / "w.bin", dataclasses.replace(main, also=(digest,))).published


def test_the_digest_of_weights_ignores_the_container_and_sees_one_bit() -> None:
    one = {"b": torch.ones(2), "a": torch.zeros(3)}
    other = {"a": torch.zeros(3, dtype=torch.float64), "b": torch.ones(2)}
    changed = {"a": torch.zeros(3), "b": torch.tensor([1.0, 1.0000001])}
    assert weights.weights_digest(one) == weights.weights_digest(other)
    assert weights.weights_digest(one) != weights.weights_digest(changed)
