"""TorchScript archives: their weights are read, their code is not."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from ldm_eval_features import weights
from ldm_eval_features.torchscript import is_torchscript, read_torchscript
from ldm_eval_features.weights import PublishedWeights
from torch import nn

from ldm_eval.errors import ConfigError

PUBLISHED = PublishedWeights("net.pt", "https://example.org/net.pt", "0" * 64)


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.visual = nn.Sequential(nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4))
        self.blocks = nn.ModuleList([nn.Linear(5, 6).half()])
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.turned = nn.Parameter(torch.randn(3, 4).T)
        self.register_buffer("resolution", torch.tensor(224))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.visual(x) * self.scale
        return y


def _saved(path: Path, *, trace: bool) -> _Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = _Network().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated; the files that exist stay
        made = torch.jit.trace(network, torch.zeros(1, 3, 4, 4)) if trace else torch.jit.script(network)
        torch.jit.save(made, str(path))
    return network


@pytest.mark.parametrize("trace", [True, False])
def test_the_weights_of_an_archive_are_those_of_the_module(tmp_path: Path, *, trace: bool) -> None:
    network = _saved(tmp_path / "net.pt", trace=trace)
    assert is_torchscript(tmp_path / "net.pt")
    found = read_torchscript(tmp_path / "net.pt")
    expected = network.state_dict()
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    read = weights.read(tmp_path / "net.pt", PUBLISHED).tensors
    assert torch.equal(read["blocks.0.weight"], expected["blocks.0.weight"].float())
    assert not [name for name in read if name.endswith("num_batches_tracked")]


def test_a_plain_state_dict_is_no_such_archive(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "w.pth")
    assert not is_torchscript(tmp_path / "w.pth")
    assert not is_torchscript(Path(__file__))


class _Payload:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.witness,)


def _archive(path: Path, description: bytes, **data: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", description)
        archive.writestr("net/code/__torch__.py", "raise SystemExit")
        for key, content in data.items():
            archive.writestr(f"net/data/{key.removeprefix('k')}", content)
    return path


def test_a_description_that_wants_to_run_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    witness = tmp_path / "it-ran"
    path = _archive(tmp_path / "evil.pt", pickle.dumps({"weight": _Payload(witness)}, protocol=2))
    with pytest.raises(ConfigError, match="which no weights need"):
        weights.read(path, PUBLISHED)
    assert not witness.exists()


def _tensor_description(count: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """Of a module with one tensor ``weight`` over ``data/0``."""
    numbers = [pickle.dumps(value, protocol=2)[2:-1] for value in (offset, size, stride)]
    return b"".join(
        [
            b"\x80\x02c__torch__\nNet\n)\x81}(X\x06\x00\x00\x00weightctorch._utils\n_rebuild_tensor_v2\n((",
            b"X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu",
            pickle.dumps(count, protocol=2)[2:-1],
            b"tQ",
            *numbers,
            b"\x89ccollections\nOrderedDict\n)RtRub.",
        ]
    )


def test_a_tensor_is_taken_out_of_its_bytes(tmp_path: Path) -> None:
    data = torch.arange(6.0).numpy().tobytes()
    path = _archive(tmp_path / "w.pt", _tensor_description(6, 1, (2, 2), (2, 1)), k0=data)
    assert read_torchscript(path)["weight"].tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("description", "words"),
    [
        (_tensor_description(6, 3, (2, 2), (2, 1)), "beyond its bytes"),
        (_tensor_description(6, -1, (2, 2), (2, 1)), "negative"),
        (_tensor_description(6, 0, (2,), (2, 1)), "negative offset, size or stride"),
        (_tensor_description(7, 0, (2,), (1,)), "7 were announced"),
        (b"\x80\x02c__torch__\nNet\n)\x81}.", "cannot be read|state dict"),
        (b"", "cannot be read"),
    ],
)
def test_what_does_not_add_up_is_one_clear_error(tmp_path: Path, description: bytes, words: str) -> None:
    path = _archive(tmp_path / "w.pt", description, k0=bytes(24))
    if not words.startswith("cannot be read|"):
        with pytest.raises(ConfigError, match=words):
            weights.read(path, PUBLISHED)
    else:
        assert not read_torchscript(path)


def test_safetensors_are_taken_and_a_truncated_one_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.ones(3, dtype=torch.float16)}, tmp_path / "w.bin")
    assert weights.read(tmp_path / "w.bin", PUBLISHED).tensors["a"].dtype == torch.float32
    whole = (tmp_path / "w.bin").read_bytes()
    (tmp_path / "w.bin").write_bytes(whole[:-2])
    with pytest.raises(ConfigError, match="cannot be read"):
        weights.read(tmp_path / "w.bin", PUBLISHED)
