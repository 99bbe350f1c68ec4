"""Where neighbours are searched: the processor, a graphics card, or a FAISS index. Distances are exact everywhere.

The processor and the graphics card find the same neighbours to the last bit: float32 products propose, a bound on their
rounding says whether that is enough, and float64 decides. FAISS may miss neighbours; what it proposes is measured
exactly, and how often it misses is counted on queries that are also searched in full.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from ldm_eval.stats.neighbours import Neighbours

__all__ = ["by_faiss", "faiss_recall", "on_device", "search"]

Progress = Callable[[int, int], None]

_WORTH_A_DEVICE = 1e11  # multiplications: below, starting torch takes longer than it saves
_BLOCK = 1 << 26  # values of one block of the index, and of the scores, on the device
_MARGIN = 16  # candidates beyond k
_CHECKED = 200  # queries on which FAISS is checked


def search(
    queries: NDArray[np.float32], index: NDArray[np.float32], k: int, progress: Progress, min_recall: float = 1.0
) -> Neighbours:
    """The ``k`` nearest rows of ``index``, by the fastest way that keeps its word.

    With ``min_recall`` 1 they are exact: on CUDA where there is a card and enough to do, else on the processor. Below
    1, FAISS is asked where it is installed, and believed if it finds the nearest row of at least that share of 200
    queries that are searched in full too.
    """
    from ldm_eval.stats.neighbours import nearest

    if min_recall < 1 and importlib.util.find_spec("faiss") is not None:
        found = by_faiss(queries, index, k)
        if faiss_recall(queries, index, found) >= min_recall:
            progress(len(queries), len(queries))
            return found
    device = _device(len(queries) * index.size)
    if device:
        found_there = on_device(queries, index, k, device, progress)
        if found_there is not None:
            return found_there
    return nearest(queries, index, k, on_progress=progress)


def _device(multiplications: int) -> str:
    if multiplications < _WORTH_A_DEVICE:
        return ""
    import torch

    return "cuda" if torch.cuda.is_available() else ""


def on_device(
    queries: NDArray[Any], index: NDArray[Any], k: int, device: str, progress: Progress | None = None
) -> Neighbours | None:
    """As ``ldm_eval.stats.neighbours.nearest``, with the products taken on ``device``; None where its memory is short.

    Rows whose candidates are too close to call in float32 are searched again on the processor.
    """
    import numpy as np
    import torch

    from ldm_eval.stats.neighbours import nearest, rescored

    n = len(index)
    width = min(n, k + _MARGIN)
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")  # the bound below is not that of TF32
    try:
        with torch.inference_mode():
            scores, columns, error = _propose(queries, index, width, device, progress)
    except torch.OutOfMemoryError:
        return None
    finally:
        torch.set_float32_matmul_precision(precision)
    found = rescored(queries, index, columns, k)
    if width < n:
        open_rows = np.flatnonzero(scores[:, -1] <= scores[:, k - 1] + 2 * error)
        if len(open_rows):
            again = nearest(np.asarray(queries[open_rows]), index, k)
            found.distances[open_rows], found.indices[open_rows] = again.distances, again.indices
    return found


def _propose(
    queries: NDArray[Any], index: NDArray[Any], width: int, device: str, progress: Progress | None
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """Scores ``|x|^2 - 2 q.x`` of the best ``width`` rows, ascending, which rows, and the scores' rounding error."""
    import numpy as np
    import torch

    (n, d), total = index.shape, len(queries)
    block = max(width, min(n, _BLOCK // max(1, d)))
    mean = np.asarray(index[:block], dtype=np.float64).mean(axis=0)  # any shift will do; this one saves digits

    def there(rows: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.subtract(rows, mean, dtype=np.float64).astype(np.float32)).to(device)

    best = torch.full((total, width), torch.inf, device=device)
    where = torch.full((total, width), -1, dtype=torch.int64, device=device)
    asked = there(queries)
    longest = torch.zeros((), device=device)
    rows = max(1, _BLOCK // block)
    for first in range(0, n, block):
        known = there(index[first : first + block])
        norms = torch.einsum("nd,nd->n", known, known)
        longest = torch.maximum(longest, norms.max())
        for start in range(0, total, rows):
            part = slice(start, start + rows)
            values = torch.addmm(norms, asked[part], known.T, alpha=-2.0)
            value, column = values.topk(min(width, values.shape[1]), largest=False)
            both = torch.cat([best[part], value], dim=1)
            places = torch.cat([where[part], column + first], dim=1)
            best[part], order = both.topk(width, largest=False)
            where[part] = places.gather(1, order)
        if progress is not None:
            progress(min(n, first + block), n)
    reach = torch.sqrt(torch.einsum("qd,qd->q", asked, asked)) + torch.sqrt(longest)
    error = (d + 8) * torch.finfo(torch.float32).eps * torch.square(reach)
    order = best.argsort(dim=1)
    scores, columns = best.gather(1, order), where.gather(1, order)
    return scores.cpu().numpy(), columns.cpu().numpy(), error.cpu().numpy()


def by_faiss(queries: NDArray[np.float32], index: NDArray[np.float32], k: int, probes: int = 16) -> Neighbours:
    """What an inverted-file index of FAISS (extra ``faiss``) proposes, measured exactly; it may miss neighbours.

    Args:
        queries: ``(Q, D)`` float32.
        index: ``(N, D)`` float32; FAISS keeps a copy in memory.
        k: 1 <= k <= N.
        probes: Cells that are looked into for each query.
    """
    import faiss
    import numpy as np

    from ldm_eval.stats.neighbours import rescored

    n, d = index.shape
    cells = max(1, min(int(4 * n**0.5), n // 39))  # FAISS wants 39 rows for each cell it learns
    built = faiss.IndexIVFFlat(faiss.IndexFlatL2(d), d, cells)
    step = max(1, _BLOCK // d)
    built.train(np.ascontiguousarray(index[:: max(1, n // (64 * cells))]))
    for start in range(0, n, step):
        built.add(np.ascontiguousarray(index[start : start + step]))
    built.nprobe = min(probes, cells)
    _, proposed = built.search(np.ascontiguousarray(queries), min(n, k + _MARGIN))
    return rescored(queries, index, np.asarray(proposed, dtype=np.int64), k)


def faiss_recall(queries: NDArray[np.float32], index: NDArray[np.float32], found: Neighbours) -> float:
    """Share of 200 queries (evenly spread) whose nearest distance is the true one."""
    import numpy as np

    from ldm_eval.stats.neighbours import nearest

    some = np.unique(np.linspace(0, len(queries) - 1, _CHECKED).astype(np.int64))
    true = nearest(np.asarray(queries[some]), index, 1).distances[:, 0]
    return float((found.distances[some, 0] <= true).mean())
