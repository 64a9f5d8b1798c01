"""The pages, asked for through the application as a browser does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Timer

import pytest
from recorded import NOW
from viewing import TURNS, Pages

from convoforge.api.tokens import make_token
from convoforge.dataset import snapshots
from convoforge.dataset.forecast import read_known
from convoforge.ledger.runs import ensure_dataset
from convoforge.models import Turn
from convoforge.review.deciding import decide
from convoforge.viewer import start_run


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    with Pages.open(tmp_path_factory.mktemp("data")) as opened:
        yield opened


def test_datasets_are_listed(pages: Pages) -> None:
    page = pages.get("/")
    assert page.status_code == 200
    assert 'href="/simulated/sheep"' in page.text and "simulated" in page.text


def test_a_dataset_that_was_never_planned_leads_nowhere(pages: Pages) -> None:
    pages.app.state.ledger.write(ensure_dataset, "cows", "anthropic", NOW)
    listed = pages.get("/").text
    assert "cows" in listed and "not planned yet" in listed and 'href="/datasets/cows' not in listed


def test_assets_are_kept_by_their_hash(pages: Pages) -> None:
    address = pages.get("/").text.partition('stylesheet" href="')[2].partition('"')[0]
    kept = pages.get(address)
    assert "immutable" in kept.headers["cache-control"] and kept.headers["content-type"].startswith("text/css")
    assert pages.get("/static/viewer.css").headers["cache-control"] == "no-cache"
    assert pages.get("/static/viewer.css", headers={"if-none-match": kept.headers["etag"]}).status_code == 304
    assert pages.get("/static/pages.py").status_code == 404


def test_an_error_is_a_page_for_a_browser_and_json_for_a_program(pages: Pages) -> None:
    page = pages.get("/nowhere")
    assert page.status_code == 404 and "There is no such page." in page.text
    assert pages.get("/nowhere", headers={"accept": "*/*"}).json()["error"]["type"] == "NotFound"
    assert pages.get("/api/nowhere").json()["error"]["type"] == "NotFound"


def test_a_dataset_shows_what_it_has_and_lacks(pages: Pages) -> None:
    text = pages.get("/simulated/sheep").text
    assert "14" in text and "of 16 planned" in text and "do not train on them" in text
    assert text.count('aria-label="3 of 4: ') == 2 and text.count('aria-label="4 of 4: ') == 2  # the heat map, as a table
    assert "control tokens" in text and "score below 6" in text
    assert "What is short" in text and "Nothing is published yet." in text
    assert 'href="/simulated/sheep/conversations?flag=pii"' in text
    assert pages.get("/simulated/sheep?down=emotion&across=topic").text.count('scope="row">calm') == 1
    assert pages.get("/simulated/sheep?down=%01&across=<b>").status_code == 200


def test_what_takes_long_to_read_says_so_and_opens_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    is_read, make = Event(), snapshots.make_snapshot
    monkeypatch.setattr(snapshots, "make_snapshot", lambda *given, **how: is_read.wait() and make(*given, **how))
    monkeypatch.setattr(snapshots, "FIRST_SECONDS", 0.05)
    with Pages.open(tmp_path) as pages:
        for address in ("/simulated/sheep", "/simulated/sheep/conversations", "/simulated/sheep/conversations/c1"):
            page = pages.get(address)
            assert page.status_code == 503 and page.headers["refresh"] == "1"
            assert "One moment" in page.text and "conversations of &#39;sheep&#39; are being read" in page.text
        Timer(0.5, is_read.set).start()
        found = pages.get("/api/conversations?dataset=sheep&simulated=true", headers={"accept": "application/json"})
        assert found.status_code == 200 and found.json()["data"]["total"] == 16, "a program waits"
        page = pages.get("/simulated/sheep")
        assert page.status_code == 200 and "refresh" not in page.headers


def test_conversations_are_found_and_lead_to_each_other(pages: Pages) -> None:
    listed = pages.get("/simulated/sheep/conversations?text=WOOL_&order=oldest").text
    assert "<b>1</b> of 16" in listed and "<mark>wool_</mark>" in listed
    assert "/simulated/sheep/conversations/c1?text=WOOL_&amp;order=oldest" in listed
    one = pages.get("/simulated/sheep/conversations/c2?order=oldest").text
    assert "2 of 16" in one and "/conversations/c1?order=oldest" in one and "/conversations/c3?order=oldest" in one
    assert "Question 2" in one and "The prompt " in one and "$0.01" in one
    assert "Nothing matches." in pages.get("/simulated/sheep/conversations?text=zebra").text


def test_what_others_wrote_is_shown_and_not_run(pages: Pages) -> None:
    text = pages.get("/simulated/sheep/conversations/c1").text
    assert "&lt;script&gt;document.title=" in text and "<script>document" not in text
    found = pages.get(
        "/simulated/sheep/conversations", params={"text": '"><script>x', "persona": "'><i>", "run": "</label>"}
    ).text
    assert "<script>x" not in found and "<i>" not in found and "&#34;&gt;&lt;script&gt;x" in found


def test_a_review_by_plain_forms_goes_on_to_the_next_and_can_be_undone(pages: Pages) -> None:
    assert (
        pages.get("/simulated/sheep/review").headers["location"] == "/simulated/sheep/conversations/c15?queue=all"
    )  # it needs revision
    assert pages.get("/simulated/sheep/review?sample=random:1").headers["location"].endswith("?queue=random%3A1")
    assert pages.get("/simulated/sheep/review?sample=disagreements").headers["location"] == "/simulated/sheep?reviewed"
    assert pages.get("/simulated/sheep/review?sample=what").status_code == 404
    assert "16 to review" in pages.get("/simulated/sheep/conversations/c15?queue=all").text
    address = "/simulated/sheep/conversations/c5/review?order=oldest"
    sent = pages.post(address, data={"decision": "reject", "note": "off <topic>"})
    assert sent.status_code == 303 and sent.headers["location"] == "/simulated/sheep/conversations/c6?order=oldest&done=c5"
    assert "Rejected" in pages.get(sent.headers["location"]).text
    page = pages.get("/simulated/sheep/conversations/c5").text
    assert "off &lt;topic&gt;" in page
    assert page.partition('aria-label="Review"')[2].partition("<button ")[2].startswith("disabled"), (
        "what Enter in the note presses"
    )
    undone = pages.post(address, data={"decision": "undo"})
    assert undone.headers["location"] == "/simulated/sheep/conversations/c5?order=oldest"
    assert pages.post(address, data={"decision": "praise"}).status_code == 400
    assert pages.post("/simulated/sheep/conversations/zz/review", data={"decision": "accept"}).status_code == 404
    assert pages.post(address, data={"decision": "accept"}, headers={"sec-fetch-site": "cross-site"}).status_code == 403


def test_an_edit_keeps_what_a_browser_changes_by_itself(pages: Pages) -> None:
    form = pages.get("/simulated/sheep/conversations/c1?edit=1").text
    assert "<textarea" in form and "&lt;script&gt;" in form
    address = "/simulated/sheep/conversations/c1/review"
    unchanged = {
        "decision": "edit",
        "edit_of": "0",
        **{f"turn-{at}": content.replace("\n", "\r\n") for at, (_, content) in enumerate(TURNS)},
    }
    assert pages.post(address, data=unchanged).status_code == 303
    assert "<b>Accepted</b> by local" in pages.get("/simulated/sheep/conversations/c1").text
    pages.post(address, data={**unchanged, "turn-1": "By hand,\r\nand cold."})
    page = pages.get("/simulated/sheep/conversations/c1").text
    assert "By hand,\nand cold." in page and "As the model wrote it" in page and "<b>Edited</b> by local" in page
    empty = pages.post(address, data={**unchanged, "turn-0": " "})
    assert empty.status_code == 400 and "make no conversation: turn 1 (user) is empty." in empty.text


def test_an_edit_of_another_length_can_be_edited_again(pages: Pages) -> None:
    """Somebody has put four turns in the place of two, in another way: the form shows four, and four are published."""
    turns = [Turn(role, text) for role, text in zip(("user", "assistant") * 2, "abcd", strict=True)]
    made = decide(pages.app.state.ledger, "c7", "edit", "Ann", now=NOW, turns=turns)
    form = pages.get("/simulated/sheep/conversations/c7?edit=1").text
    assert form.count("<textarea") == 4 and f'name="edit_of" value="{made.id}"' in form
    address = "/simulated/sheep/conversations/c7/review"
    sent = {"decision": "edit", "edit_of": str(made.id), **{f"turn-{at}": text for at, text in enumerate("abcD")}}
    assert pages.post(address, data=sent).status_code == 303
    chat = pages.get("/simulated/sheep/conversations/c7").text.partition('<ol class="chat">')[2].partition("</ol>")[0]
    assert chat.count("<li") == 4 and "<p>D</p>" in chat


def test_an_edit_that_somebody_was_quicker_with_overwrites_nothing_and_is_not_lost(pages: Pages) -> None:
    address = "/simulated/sheep/conversations/c8"
    sent = {"decision": "edit", "edit_of": "0", "turn-0": "Mine?", "turn-1": "Mine & only.", "note": "the <better>"}
    theirs = decide(
        pages.app.state.ledger, "c8", "edit", "Ann", now=NOW, turns=[Turn("user", "Hers?"), Turn("assistant", "Hers.")]
    )
    stale = pages.post(f"{address}/review?order=oldest", data=sent)
    assert stale.status_code == 409
    assert "Ann has edited this conversation meanwhile" in stale.text and "Hers." in stale.text
    form = stale.text.partition('id="editing"')[2].partition("</form>")[0]
    assert "Mine &amp; only.</textarea>" in form and 'value="the &lt;better&gt;"' in form
    assert f'name="edit_of" value="{theirs.id}"' in form  # who sends it again has seen what it replaces
    assert "<p>Hers.</p>" in pages.get(address).text
    for odd in ("", "x", "9" * 30, "-1"):
        assert pages.post(f"{address}/review", data={**sent, "edit_of": odd}).status_code == 409, odd
    assert pages.post(f"{address}/review", data={**sent, "edit_of": str(theirs.id)}).status_code == 303
    assert "<p>Mine &amp; only.</p>" in pages.get(address).text


def test_costs_and_health_say_what_the_commands_say(pages: Pages) -> None:
    text = pages.get("/costs?by=model").text
    assert "claude-sonnet-5-5" in text and "$0.16" in text and "None of this was paid" in text
    assert pages.get("/costs?from=yesterday").status_code == 400
    assert pages.get("/costs?by=moon").status_code == 200
    while "still looking" in (text := pages.get("/health").text):
        time.sleep(0.05)
    assert "ledger" in text and "versions" in text and "to mend" in text


def test_the_form_of_a_build_scores_nothing(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(
        start_run, "read_known", lambda *given, score=True: asked.append(score) or read_known(*given, score=score)
    )
    assert "to generate" in pages.get("/start?spec=demo&simulate=true").text
    assert asked == [False]


def test_what_nobody_would_send_is_an_error_of_the_sender(pages: Pages) -> None:
    fields = {f"turn-{at}": "" for at in range(1_001)}
    for address in ("/start", "/login", "/simulated/sheep/conversations/c2/review"):
        assert pages.post(address, data=fields).status_code == 400, address
    for address in ("/simulated/sheep?a=%00", "/simulated/sheep%00", "/api/conversations?dataset=%00", "/api/datasets/%00"):
        assert pages.get(address).status_code == 400, address
    assert pages.get(f"/simulated/sheep/versions/{'9' * 5_000}/a").status_code == 404
    for address in ("/api/conversations?dataset=sheep&simulated=true&", "/simulated/sheep/conversations?"):
        assert pages.get(f"{address}min_cost=1e-13").status_code == 200, address


def test_what_only_reads_needs_no_key(pages: Pages) -> None:
    for address in ("/api/templates", "/api/batches", "/api/costs", "/api/metrics", "/metrics"):
        assert pages.get(address).status_code == 200, address
    assert pages.get(f"/api/conversations/{'0' * 24}").status_code == 404
    sent = {"templateId": "advice", "persona": "p", "emotion": "e", "topic": "t"}
    assert pages.post("/api/conversations/generate", json=sent).status_code == 503


def test_unknown_datasets_conversations_and_files_are_404(pages: Pages) -> None:
    for address in (
        "/datasets/sheep",
        "/simulated/none/conversations",
        "/simulated/sheep/conversations/c99",
        "/simulated/sheep/versions/1/x",
    ):
        assert pages.get(address).status_code == 404, address


def test_who_may_only_look_is_offered_no_review_and_may_send_none(tmp_path: Path) -> None:
    token, line = make_token("guest", frozenset({"read"}))
    (tmp_path / "tokens").write_text(line)
    guest = {"authorization": f"Bearer {token}"}
    with Pages.open(tmp_path, api_token_file=tmp_path / "tokens") as pages:
        page = pages.get("/simulated/sheep/conversations/c2", headers=guest)
        assert page.status_code == 200 and "Question 2" in page.text and 'value="accept"' not in page.text
        assert "Publish" not in pages.get("/simulated/sheep", headers=guest).text
        for action in ("conversations/c2/review", "publish"):
            refused = pages.post(f"/simulated/sheep/{action}", data={"decision": "accept"}, headers=guest)
            assert refused.status_code == 403 and "it needs the scope review" in refused.text
        assert pages.get("/simulated/sheep").headers["location"] == "/login?next=/simulated/sheep"
        assert pages.get("/static/viewer.css").status_code == 200  # the login needs it


def test_what_fails_within_is_a_page_without_its_reason(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convoforge.viewer.datasets.read_dataset_rows", lambda _: 1 / 0)
    page = pages.get("/")
    assert page.status_code == 500 and "Internal error." in page.text and "division" not in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'")


def test_no_page_holds_a_script_or_a_style_of_its_own(pages: Pages) -> None:
    for address in (
        "/",
        "/nowhere",
        "/costs",
        *(f"/simulated/sheep{rest}" for rest in ("", "/conversations", "/conversations/c1")),
    ):
        text = pages.get(address).text
        assert "<style" not in text and "style=" not in text and " onclick" not in text
        assert text.count("<script") == text.count("<script src=")
