"""A new plugin's names: made from one word, and refused where they could not be installed beside what is there."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldm_eval.api import Alarm, CheckSpec, Evidence, Interval, Measurement, Needs, PhantomCase, Phantoms, SuiteSpec
from ldm_eval.errors import ConfigError
from ldm_eval.hooks import hookimpl
from ldm_eval.hooks.catalogue import Catalogue, PluginRecord
from ldm_eval.testing.scaffold import PluginNames, plugin_names


class _Blank:
    id = "shades/blank_share"
    title = "Blank"
    question = "?"
    needs = Needs()
    phantoms = Phantoms("m", Alarm("low", ">", 0.0), PhantomCase("a:b", "x"), PhantomCase("a:c", "y"))

    def run(self, evidence: Evidence) -> list[Measurement]:
        return [evidence.measurement("m", 0.0, Interval(0, 1, 0.95, "none"), n=1, unit="u", direction="none")]


class _Installed:
    """A plugin with a suite that selects its family, one that selects only one check, and a check of our name."""

    @hookimpl
    def ldm_eval_checks(self) -> list[CheckSpec]:
        return [CheckSpec.of(_Blank)]

    @hookimpl
    def ldm_eval_suites(self) -> list[SuiteSpec]:
        return [SuiteSpec("colours", "", ("colours/*",)), SuiteSpec("narrow", "", ("narrow/one",))]


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    catalogue = Catalogue()
    catalogue._add(PluginRecord("shading", "shading"), _Installed)
    return catalogue


def test_all_names_come_from_one_word(catalogue: Catalogue) -> None:
    names = plugin_names("Blank_Images", "", catalogue)
    assert names == PluginNames("blank-images", "ldm-eval-blank-images", "blank_images", "blank_images", joins=False)
    assert names.check == "blank_images/blank_share"


@pytest.mark.parametrize("same", ["blank.images", "blank--images", "ldm-eval-blank-images", "LDM_EVAL.Blank_Images"])
def test_spellings_that_packages_do_not_tell_apart_are_one_name(same: str, catalogue: Catalogue) -> None:
    assert plugin_names(same, "", catalogue) == plugin_names("blank-images", "", catalogue)


def test_a_family_that_has_a_suite_is_joined(catalogue: Catalogue) -> None:
    names = plugin_names("blank-images", "colours", catalogue)
    assert (names.family, names.joins) == ("colours", True)
    assert not plugin_names("blank-images", "pages", catalogue).joins


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "begins and ends with a letter or a digit"),
        ("-x", "begins and ends"),
        ("x.", "begins and ends"),
        ("..", "begins and ends"),
        ("../x", "Its folder is chosen with --output"),
        ("a/b", "PEP 508"),
        ("a\\b", "PEP 508"),
        ("/tmp/x", "PEP 508"),
        ("a b", "PEP 508"),
        ("bláthy", "PEP 508"),
        ("a\n", "PEP 508"),
        ("x" * 41, "has 41 characters; choose one of at most 40"),
        ("3d", "its module '3d' is no Python name: it begins with a digit"),
        ("Class", "its module 'class' is a word of the Python language"),
        ("match", "is a word of the Python language"),
        ("json", "is a module of Python's own library"),
        ("tests", "is what the folder of its tests is called"),
        ("docs", "is what the folder of its docs is called"),
        ("numpy", "its module 'numpy' is installed here already"),
        ("ldm-eval", "its module 'ldm_eval' is installed here already"),
        ("ldm-eval-numpy", "its module 'numpy' is installed here already"),
        ("shading", "A plugin called 'shading' is installed already"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(name: str, words: str, catalogue: Catalogue) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        plugin_names(name, "", catalogue)


@pytest.mark.parametrize(
    ("family", "words"),
    [
        ("Colours", "small letters, digits and underscores"),
        ("a/b", "small letters, digits and underscores"),
        ("1st", "begins with a letter"),
        ("a-b", "small letters"),
        ("é", "small letters"),
        ("f" * 41, "at most 40"),
        ("all", "the suite of all checks"),
        ("shades", "shades/blank_share is offered by the plugin 'shading' already"),
        ("narrow", "The suite 'narrow' of the plugin 'shading' would not select narrow/blank_share"),
    ],
)
def test_a_family_that_cannot_be_used_is_refused(family: str, words: str, catalogue: Catalogue) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        plugin_names("blank-images", family, catalogue)


def test_a_package_that_is_installed_but_offers_no_plugin_is_not_overwritten(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "ldm_eval_blank_images-2.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: ldm-eval-blank-images\nVersion: 2.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"the package ldm-eval-blank-images 2\.0 is installed already"):
        plugin_names("blank-images", "", catalogue)


def test_a_mere_folder_of_the_name_hides_nothing(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "blank_images").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert plugin_names("blank-images", "", catalogue).module == "blank_images"


@given(st.text(max_size=45) | st.from_regex(r"[A-Za-z0-9._/-]{1,45}", fullmatch=True))
def test_whatever_is_asked_the_names_can_be_used_or_the_reason_is_given(name: str) -> None:
    try:
        names = plugin_names(name, "", Catalogue())
    except ConfigError as error:
        assert "called" in str(error) or "characters" in str(error)  # noqa: PT017
        return
    assert names.module.isidentifier()
    assert not keyword.iskeyword(names.module)
    assert Path(names.plugin).name == names.plugin
