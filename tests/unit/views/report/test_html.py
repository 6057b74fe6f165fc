"""The report's page: what is in it, and what is in no page."""

import re
from html.parser import HTMLParser

from codexteam.report.comparison import compare_runs
from codexteam.views.report.html import render_comparison, render_html
from tests.support_reports import HOSTILE, report_of

_MOST_BYTES = 2_000_000


class Page(HTMLParser):
    """The tags and attributes of a page, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_page_of_hostile_texts_has_the_tags_of_a_plain_one() -> None:
    plain, hostile = Page(render_html(report_of())), Page(render_html(report_of(HOSTILE)))

    assert hostile.tags == plain.tags
    assert "<script>document.title='owned'</script>" in hostile.text, "it is shown, as text"
    assert "\x1b" not in hostile.text
    assert "\u202e" not in hostile.text


def test_a_page_says_how_to_read_what_its_agents_were_asked_and_said() -> None:
    report = report_of()
    page = Page(render_html(report))

    for story in report.stories:
        if story.attempts:
            assert f"codexteam show {story.known.task.id} --transcript --run {report.run.record.run_id}" in page.text
    first = next(lane.name.split()[-1] for lane in report.timeline.lanes if lane.purpose)
    assert f"codexteam show {first} --run {report.run.record.run_id}" in page.text


def test_a_comparison_of_hostile_texts_has_the_tags_of_a_plain_one() -> None:
    plain, hostile = report_of(), report_of(HOSTILE)

    assert (
        Page(render_comparison(compare_runs(hostile, hostile))).tags
        == Page(render_comparison(compare_runs(plain, plain))).tags
    )


def test_a_page_asks_for_nothing_and_runs_nothing() -> None:
    html = render_html(report_of(HOSTILE))
    page = Page(html)

    assert not {"script", "iframe", "img", "link", "object", "embed", "form", "base", "audio", "video"} & set(page.tags)
    assert [one for one in page.attributes if one[1].startswith("on") or one[1] in {"src", "srcset", "data"}] == []
    assert [value for _, name, value in page.attributes if name == "href" and not value.startswith("#")] == []
    policies = [value for tag, name, value in page.attributes if (tag, name) == ("meta", "content")]
    assert policies[0].startswith("default-src 'none'; style-src 'unsafe-inline'")
    style = html.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert [value for _, name, value in page.attributes if name == "style" and "url" in value] == []


def test_every_link_of_a_page_leads_to_a_part_of_it() -> None:
    page = Page(render_html(report_of()))
    parts = {value for _, name, value in page.attributes if name == "id"}
    links = [value for _, name, value in page.attributes if name == "href"]

    assert links
    assert [link for link in links if link.removeprefix("#") not in parts] == []


def test_a_page_says_what_waits_before_anything_else() -> None:
    text = Page(render_html(report_of())).text

    order = ["Waiting for you", "Evidence", "Timeline", "Tasks", "Gates by round", "Findings", "Cost", "Receipts"]
    places = [text.rindex(f"\n{heading}\n") if f"\n{heading}\n" in text else text.index(heading) for heading in order]
    assert places == sorted(places)
    assert 'codexteam answer question.T1.1 "TEXT"' in text


def test_a_page_of_64_agents_stays_below_two_megabytes() -> None:
    report = report_of("x" * 400, tasks=64, turns_each=60)
    html = render_html(report)

    assert len(report.timeline.lanes) > 64
    assert len(html.encode()) < _MOST_BYTES


def test_a_page_stays_small_whatever_was_changed() -> None:
    report = report_of("'\"<&>" * 20_000, tasks=64)

    assert len(render_html(report).encode()) < _MOST_BYTES


def test_a_page_is_read_by_light_and_in_the_dark_and_on_paper() -> None:
    html = render_html(report_of())

    assert "@media (prefers-color-scheme: dark)" in html
    assert "@media print" in html
    assert re.search(r'<meta name="viewport" content="width=device-width', html)
