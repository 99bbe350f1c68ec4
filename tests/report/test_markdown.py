from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ldm_eval.report.markdown import code, code_block, escape, image, plain, slug, table

HOSTILE = [
    "a|b",
    "a\\|b",
    "`rm -rf`",
    "``x``|",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "--- \n---\ntitle: x",
    "::error file=x::boom",
    "##[error]boom",
    "# heading",
    "> quote",
    "- item",
    "+ item",
    "1. item",
    "1) item",
    "=====",
    "line\nbreak\r\nand\u2028more",
    "\u202egnp.exe\u202c \u200f\u061c",
    "zero\u200bwidth\ufeff",
    "[link](http://evil.example)",
    "![img](http://evil.example/x.png)",
    "https://evil.example www.evil.example",
    "*bold* __bold__ _it_ ~~gone~~",
    "$\\frac{1}{2}$",
    "&lt;b&gt; &amp;",
    "bell\x07 esc\x1b[31m null\x00",
    "undecodable \udcff name",
    "",
    "   ",
]
markdown = MarkdownIt("gfm-like", {"linkify": False})


def shown(text: str) -> str:
    """What a reader sees of a text: one line, without what cannot be seen."""
    return plain(text)


def rendered(html: str) -> str:
    text = re.sub(r"<[^>]+>", "", html)
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        text = text.replace(entity, character)
    return text.strip()


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_only_text_in_a_paragraph(text: str) -> None:
    html = markdown.render(escape(text))
    assert set(re.findall(r"<(\w+)", html)) <= {"p"}
    assert rendered(html) == shown(text)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("write", [escape, code])
def test_hostile_text_stays_in_its_table_cell(text: str, write: object) -> None:
    html = markdown.render(table(("a", "b"), [(write(text), "next")]))  # type: ignore[operator]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", html, flags=re.DOTALL)
    assert len(cells) == 2
    assert (rendered(cells[0]), cells[1]) == (shown(text), "next")
    assert set(re.findall(r"<(\w+)", "".join(cells))) <= {"code"}


@pytest.mark.parametrize("text", HOSTILE)
def test_no_line_starts_a_ci_command_or_a_front_matter(text: str) -> None:
    for written in (escape(text), code(text), code_block(text), image(text, "x.png")):
        assert not any(line.startswith(("::", "##[")) for line in written.split("\n"))
        written.encode("utf-8")
    assert "---" not in escape(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_code_block_holds_one_line_and_cannot_be_left(text: str) -> None:
    html = markdown.render(code_block(text) + "\n\nafter")
    assert html.count("<pre>") == 1
    assert html.endswith("<p>after</p>\n")


@pytest.mark.parametrize("text", HOSTILE)
def test_an_image_keeps_its_own_path(text: str) -> None:
    html = markdown.render(image(text, "figures/x.png"))
    assert re.findall(r'src="([^"]*)"', html) == ["figures/x.png"]


def test_hidden_characters_are_dropped() -> None:
    for text in HOSTILE:
        assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in escape(text))


@given(st.text())
def test_any_text_survives_as_text(text: str) -> None:
    html = markdown.render(table(("a",), [(escape(text),)]))
    (cell,) = re.findall(r"<td[^>]*>(.*?)</td>", html, flags=re.DOTALL)
    assert rendered(cell) == shown(text)


@given(st.text())
def test_a_slug_is_a_safe_file_name(text: str) -> None:
    assert re.fullmatch(r"[a-z0-9_][a-z0-9._-]*", slug(text)), slug(text)


def test_ordinary_names_stay_readable() -> None:
    assert escape("near_copy_rate: 0.5 (95 % interval)") == "near_copy_rate: 0.5 (95 % interval)"
