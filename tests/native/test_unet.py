import pytest
import torch
from ldm_eval_native.unet import UNet, UNetConfig

from ldm_eval.errors import ConfigError


def woken(config):
    """A net whose zero-initialised layers are not zero, so that every part matters."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        net = UNet(config)
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    return net.eval()


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (7, 5), (1, 1), (32, 20)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_image_size_works(size, channels):
    net = woken(UNetConfig(channels, channels=8, multipliers=(1, 2, 2), blocks=1))
    x = torch.randn((2, channels, *size), generator=torch.Generator().manual_seed(1))
    assert net(x, torch.tensor([0, 999])).shape == x.shape


def test_time_labels_and_every_pixel_matter():
    net = woken(UNetConfig(1, channels=8, multipliers=(1, 2), blocks=1, classes=3))
    x = torch.randn((1, 1, 8, 8), generator=torch.Generator().manual_seed(1), requires_grad=True)
    at = torch.tensor([10])
    base = net(x, at)
    assert not torch.allclose(base, net(x, torch.tensor([20])))
    assert not torch.allclose(base, net(x, at, torch.tensor([0])))
    assert torch.equal(base, net(x, at, torch.tensor([3])))
    (gradient,) = torch.autograd.grad(base[0, 0, 0, 0], x)
    assert bool((gradient != 0).all())  # attention carries the far corner


def test_images_of_a_batch_do_not_see_each_other():
    net = woken(UNetConfig(1, channels=8, multipliers=(1, 2), blocks=1))
    x = torch.randn((5, 1, 8, 8), generator=torch.Generator().manual_seed(1))
    t = torch.tensor([1, 5, 10, 100, 500])
    alone = torch.cat([net(x[i : i + 1], t[i : i + 1]) for i in range(5)])
    assert torch.allclose(net(x, t), alone, atol=1e-4)


def test_the_same_noise_level_looks_the_same_whatever_the_length_of_the_schedule():
    short, long = (woken(UNetConfig(1, channels=8, timesteps=steps)) for steps in (100, 1000))
    x = torch.randn((1, 1, 8, 8), generator=torch.Generator().manual_seed(1))
    assert torch.allclose(short(x, torch.tensor([30])), long(x, torch.tensor([300])), atol=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"channels": 6},
        {"channels": 10**9},
        {"multipliers": ()},
        {"multipliers": (1, 0)},
        {"blocks": 0},
        {"attention": 3},
        {"image_channels": 0},
        {"classes": -1},
    ],
)
def test_architectures_that_cannot_be_built_are_refused(wrong):
    with pytest.raises(ConfigError, match=r"U-Net's"):
        UNetConfig(**{"image_channels": 1, **wrong})
