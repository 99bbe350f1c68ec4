import numpy as np
import pytest

from ldm_eval.stats import roots
from ldm_eval.stats.frechet import frechet_distance
from ldm_eval.stats.roots import centred, root_of


def draw(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d)) * np.arange(1, d + 1) ** -0.5 + 0.3


def dependent(n: int, d: int) -> np.ndarray:
    x = draw(n, d)
    x[:, 2] = x[:, 0] + x[:, 1]
    return x


def dead(n: int, d: int) -> np.ndarray:
    x = draw(n, d)
    x[:, [0, 3]] = 0.1
    return x


SETS = {
    "regular": draw(200, 12),
    "few": draw(10, 12),
    "dead": dead(200, 12),
    "dependent": dependent(200, 12),
    "collapsed": np.full((200, 12), 0.1),
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("block", [7, 64, 4096])
def test_the_root_is_one_of_the_covariance(name: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roots, "_BLOCK", block)
    root = root_of(centred(SETS[name])).root
    np.testing.assert_allclose(root.T @ root, np.cov(SETS[name].T), atol=1e-14)


@pytest.mark.parametrize("name", ["regular", "dead", "dependent"])
def test_the_basis_is_orthonormal_and_gives_the_rows_back(name: str) -> None:
    rows = centred(SETS[name])
    root = root_of(rows)
    assert root.columns is not None
    assert root.corner is not None
    basis = rows.whole()[:, root.columns] @ np.linalg.inv(root.corner)
    np.testing.assert_allclose(basis.T @ basis, np.eye(len(root.root)), atol=1e-12)
    np.testing.assert_allclose(basis @ root.root, rows.whole(), atol=1e-13)


def test_rank_is_that_of_the_set() -> None:
    ranks = {name: len(root_of(centred(x)).root) for name, x in SETS.items() if name != "few"}
    assert ranks == {"regular": 12, "dead": 10, "dependent": 11, "collapsed": 0}


@pytest.mark.parametrize("name", ["regular", "dead", "dependent"])
def test_block_size_changes_neither_the_distance_nor_its_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    other = draw(150, 12, seed=1)
    found = frechet_distance(SETS[name], other)
    monkeypatch.setattr(roots, "_BLOCK", 7)
    again = frechet_distance(SETS[name], other)
    assert again.value == pytest.approx(found.value, rel=1e-12)
    np.testing.assert_allclose(again.influence_x, found.influence_x, rtol=1e-9, atol=1e-12)
