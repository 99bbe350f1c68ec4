from __future__ import annotations

import hashlib
import tomllib
from datetime import date
from pathlib import Path

import pytest

from ldm_eval.errors import PolicyError
from ldm_eval.gate import Limit, Policy, load_policy, parse_policy

GOOD = """
schema_version = 1
name = "demo"

[[rules]]
id = "no-copies"
check = "privacy/near_copies"
measurement = "near_copy_rate"
at_most = 0.01
min_n = 500
why = "the holdout's own rate is 0.002"

[rules.signature]
extractor = "efficientnet-lite0"

[[rules]]
id = "fair"
check = "fairness/representation"
measurement = "share"
group = "7"
within = [0.05, 0.15]
severity = "warn"

[[rules]]
id = "recall"
check = "quality/precision_recall"
measurement = "recall"
at_least = 1

[[waivers]]
rule = "recall"
reason = "the demo is small"
owner = "a.person@example.org"
expires = 2030-01-31
model_sha256 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
"""


def parse(text: str) -> Policy:
    return parse_policy(tomllib.loads(text), "0" * 64)


def test_every_field_of_a_policy_is_read() -> None:
    policy = parse(GOOD)
    copies, fair, recall = policy.rules
    assert (policy.name, copies.id, copies.check) == ("demo", "no-copies", "privacy/near_copies")
    assert (copies.limit, copies.min_n, copies.severity) == (Limit(None, 0.01), 500, "block")
    assert copies.signature == {"extractor": "efficientnet-lite0"}
    assert (fair.limit, fair.group, fair.severity) == (Limit(0.05, 0.15), "7", "warn")
    assert recall.limit == Limit(1.0, None)
    assert policy.waivers[0].expires == date(2030, 1, 31)
    assert policy.waivers[0].model_sha256 == "a" * 64


def test_the_digest_is_that_of_the_files_bytes(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(GOOD, encoding="utf-8")
    assert load_policy(path).digest == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("at_most = 0.01", "at_mots = 0.01", "at_most"),
        ("at_most = 0.01", "", "exactly one of"),
        ("at_most = 0.01", "at_most = 0.01\nat_least = 0.0", "found at_most, at_least"),
        ("at_most = 0.01", "at_most = nan", "finite number"),
        ("at_most = 0.01", "at_most = true", "finite number"),
        ("at_most = 0.01", "at_most = '0.01'", "finite number"),
        ("within = [0.05, 0.15]", "within = [0.15, 0.05]", "lowest < highest"),
        ("within = [0.05, 0.15]", "within = [0.1, 0.1]", "lowest < highest"),
        ("within = [0.05, 0.15]", "within = [0.1]", "two numbers"),
        ('severity = "warn"', 'severity = "wran"', "Did you mean 'warn'"),
        ("min_n = 500", "min_n = 0", "at least 1"),
        ("min_n = 500", "min_n = true", "at least 1"),
        ('name = "demo"', "", "'name'"),
        ('name = "demo"', 'name = "demo"\nrule = 1', "Did you mean 'rules'"),
        ("schema_version = 1", "schema_version = 2", "must be 1; found 2"),
        ("schema_version = 1", "schema_version = true", "must be 1"),
        ("schema_version = 1", "", "found nothing"),
        ('check = "privacy/near_copies"', 'check = "near_copies"', "must be an id"),
        ('id = "fair"', 'id = "no-copies"', "2 rules have the id 'no-copies'"),
        ('id = "fair"', 'id = " "', "not empty"),
        ('group = "7"', "group = 7", "'group'"),
        ('extractor = "efficientnet-lite0"', "extractor = [1]", "'extractor'"),
        ("[rules.signature]\nextractor = ", "signature = ", "table of protocol fields"),
        ('rule = "recall"', 'rule = "recal"', "Did you mean 'recall'"),
        ("expires = 2030-01-31", 'expires = "2030-01-31"', "unquoted"),
        ("expires = 2030-01-31", "expires = 2030-01-31T00:00:00", "unquoted"),
        ('owner = "a.person@example.org"', "", "'owner'"),
        ('model_sha256 = "A', 'model_sha256 = "x', "64 hexadecimal digits"),
        ("[[waivers]]", "[[waiver]]", "Did you mean 'waivers'"),
        ("[[waivers]]", "[waivers]", "[[waivers]]"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_hint(old: str, new: str, says: str) -> None:
    assert old in GOOD
    with pytest.raises(PolicyError) as caught:
        parse(GOOD.replace(old, new, 1))
    assert says in str(caught.value)


def test_a_rule_that_is_waived_twice_is_refused() -> None:
    waiver = GOOD[GOOD.index("[[waivers]]") :]
    with pytest.raises(PolicyError, match="2 waivers are for the rule 'recall'"):
        parse(GOOD + waiver)


def test_a_policy_without_rules_is_refused_because_it_would_pass_anything() -> None:
    with pytest.raises(PolicyError, match="without rules would pass anything"):
        parse('schema_version = 1\nname = "empty"')


def test_a_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_bytes(b"\xff\xfe not toml")
    with pytest.raises(PolicyError, match="not valid TOML"):
        load_policy(path)
    with pytest.raises(PolicyError, match="Cannot read the policy"):
        load_policy(tmp_path / "missing.toml")
