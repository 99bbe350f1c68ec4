"""How often the interval of the power-spectrum distance holds the true distance, on textures blurred by known amounts.

    python benchmarks/spectrum_interval.py --runs 400

The truth is the distance of the mean log spectra of 40,000 images of either kind.
"""

from __future__ import annotations

import argparse

import numpy as np
from ldm_eval_quality.conditional_phantoms import spectra

from ldm_eval.stats.spectrum import log_spectra, rings_of, spectral_distance

RINGS = rings_of(32, 32)


def both(seed: int, blur: float, n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    evidence = spectra(seed, blur=blur, n=n, m=m)
    samples, reference = (log_spectra([evidence.images(role).rgb()], RINGS) for role in ("samples", "reference"))
    return samples, reference


def truth(blur: float) -> float:
    if blur == 0.0:
        return 0.0
    parts = [both(10**6 + seed, blur, 4000, 4000) for seed in range(10)]
    difference = np.mean([x.mean(axis=0) - y.mean(axis=0) for x, y in parts], axis=0)
    return float(np.sqrt(np.mean(np.square(difference))))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=400)
    runs = parser.parse_args().runs
    print("| blur, pixels | n | m | true distance, dB | mean value | mean, noise left in | holds truth | low > 0 |")
    print("|---|---|---|---|---|---|---|---|")
    for blur in (0.0, 0.1, 0.2, 0.4):
        true = truth(blur)
        for n, m in ((50, 50), (120, 240), (500, 500)):
            found = [spectral_distance(*both(seed, blur, n, m), RINGS.frequencies) for seed in range(runs)]
            held = np.mean([one.interval.low <= true <= one.interval.high for one in found])
            seen = np.mean([one.interval.low > 0 for one in found])
            value, raw = (np.mean([getattr(one, name) for one in found]) for name in ("value", "raw"))
            print(f"| {blur} | {n} | {m} | {true:.3f} | {value:.3f} | {raw:.3f} | {held:.3f} | {seen:.3f} |")


if __name__ == "__main__":
    main()
