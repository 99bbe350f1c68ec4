"""Certificates come back as they were written, and not when they were edited."""

import json

import pytest

from ldm_eval.errors import StoreError
from ldm_eval.store.certificate import (
    CalibratedCase,
    Certificate,
    Instrument,
    Rate,
    load_certificate,
    save_certificate,
)

CERTIFICATE = Certificate(
    tool={"name": "ldm-eval", "version": "0.1.0"},
    plugins=({"name": "quality", "distribution": "ldm-eval", "version": "0.1.0"},),
    libraries={"numpy": "2.4.6", "python": "3.11"},
    seeds=20,
    first_seed=0,
    instruments=(
        Instrument(
            "quality/frechet_distance",
            "ldm-eval",
            "calibrated",
            (),
            (
                CalibratedCase(
                    "catches", "a shift", "alarm in at least 95 %", Rate(20, 20, 0.83, 1.0, 0.95), truth=0.25
                ),
            ),
        ),
        Instrument(
            "diffusion/samplers",
            "ldm-eval",
            "failed",
            ("ddim misses its limit",),
            (CalibratedCase("ddim", "a Gaussian", "within 1e-10", observed=0.1, tolerance=1e-10),),
        ),
    ),
)


def test_a_certificate_comes_back_as_it_was(tmp_path):
    save_certificate(CERTIFICATE, tmp_path / "calibration.json")
    found = load_certificate(tmp_path / "calibration.json")
    assert found == CERTIFICATE
    assert [one.name for one in found.failed] == ["diffusion/samplers"]
    assert found.instrument("quality/frechet_distance") == CERTIFICATE.instruments[0]
    assert found.instrument("quality/nothing") is None


def test_an_edited_certificate_is_refused(tmp_path):
    path = tmp_path / "calibration.json"
    document = CERTIFICATE.to_json()
    document["instruments"][1]["verdict"] = "calibrated"
    path.write_text(json.dumps(document))
    with pytest.raises(StoreError, match="changed after it was written"):
        load_certificate(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("instruments"),
        lambda d: d.update(schema_version=2),
        lambda d: d["instruments"][0].update(verdict="fine"),
        lambda d: d["instruments"][0]["cases"][0].update(other=1),
        lambda d: d.update(plugins=[1]),
        lambda d: d.update(seeds="many"),
    ],
)
def test_what_is_no_certificate_is_refused(tmp_path, change):
    path = tmp_path / "calibration.json"
    document = json.loads(json.dumps(CERTIFICATE.to_json()))
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(StoreError, match="calibration certificate"):
        load_certificate(path)
