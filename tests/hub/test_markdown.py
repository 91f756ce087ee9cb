import html

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from mtl_nlp.hub.markdown import block, bullets, code, fold, table, text

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
LINES = st.text(
    st.one_of(st.sampled_from("\\`*_[]()<>|~$#&!-+. ab\n"), st.characters(codec="utf-8"))
)


@given(LINES.filter(lambda line: "\0" not in line))
def test_text_is_shown_as_it_is(line: str) -> None:
    shown = MARKDOWN.renderInline(text(line))
    assert html.unescape(shown) == " ".join(line.split())


@given(st.lists(st.tuples(LINES, LINES), max_size=3))
def test_no_text_breaks_a_table(rows: list[tuple[str, str]]) -> None:
    lines = [[text(left), code(right)] for left, right in rows]
    shown = MARKDOWN.render(table(["a", "b"], lines, numbers=1))
    assert shown.count("<tr>") == 1 + len(rows)
    assert shown.count("<td") == 2 * len(rows)


def test_code_is_code_where_it_can_be() -> None:
    assert [code(name) for name in ("macro_f1", "a`b", "a|b", "")] == [
        "`macro_f1`",
        r"a\`b",
        r"a\|b",
        "",
    ]


def test_a_fold_holds_markdown_under_a_plain_title() -> None:
    shown = MARKDOWN.render(fold("a < b", "*folded*"))
    assert "<summary>a &lt; b</summary>" in shown
    assert "<p><em>folded</em></p>" in shown


def test_lists_and_code_blocks() -> None:
    assert MARKDOWN.render(bullets(["one", "two"])).count("<li>") == 2
    assert MARKDOWN.render(block("python", ["x = 1", "y = 2"])) == (
        '<pre><code class="language-python">x = 1\ny = 2\n</code></pre>\n'
    )
