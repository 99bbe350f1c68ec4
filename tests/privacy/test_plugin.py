import subprocess
import sys

import ldm_eval_privacy
from ldm_eval_privacy.image_statistics import image_statistics


def test_the_plugin_offers_its_checks_and_the_suite_holds_all_of_them():
    specs = ldm_eval_privacy.ldm_eval_checks()
    ids = [spec.id for spec in specs]
    assert len(set(ids)) == len(ids)
    assert {
        "privacy/near_copies",
        "privacy/membership_loss",
        "privacy/membership_attacks",
        "privacy/dataset_inference",
    } <= set(ids)
    assert all(spec.family == "privacy" for spec in specs)
    (suite,) = ldm_eval_privacy.ldm_eval_suites()
    assert (suite.name, suite.checks) == ("privacy", ("privacy/*",))


def test_listing_the_checks_imports_nothing_heavy():
    code = (
        "import sys, ldm_eval_privacy as p; p.ldm_eval_checks(); p.ldm_eval_suites();"
        "print([m for m in ('torch', 'numpy', 'scipy', 'PIL') if m in sys.modules])"
    )
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert listed.stdout.strip() == "[]"


def test_image_statistics_are_finite_for_images_of_any_size_and_content():
    import numpy as np

    for shape in ((3, 1, 1, 1), (2, 3, 5, 9), (2, 1, 8, 8), (2, 3, 33, 20)):
        for value in (0, 255):
            described = image_statistics(np.full(shape, value, dtype=np.uint8))
            assert described.shape[0] == shape[0]
            assert np.isfinite(described).all()
