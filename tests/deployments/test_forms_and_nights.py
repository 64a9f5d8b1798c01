"""Runs as a person starts them in the form of Prefect's UI, and as a schedule does night after night: on a real server with a worker."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import yaml
from house import ROOT, House
from watching import free_port, prefect_home, wait_for

from convoforge.simulator.client import SimulatorControl
from convoforge.simulator.launch import simulator_process

pytestmark = [pytest.mark.long, pytest.mark.timeout(1_200)]
ENDS = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED", "PAUSED")
QUICK = {"max_requests": 100_000, "concurrency": 2}


@pytest.fixture(scope="module")
def house(_own_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder, port = tmp_path_factory.mktemp("nights"), free_port()
    shutil.copytree(ROOT / "configs", folder / "configs")
    with simulator_process(latency_ms=1_000) as url:
        environment = {
            "PREFECT_HOME": str(prefect_home(folder / "prefect")),
            "PREFECT_SERVER_API_PORT": str(port),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "CONVOFORGE_CONFIG_DIR": str(folder / "configs"),
            "CONVOFORGE_DATA_DIR": str(folder / "data"),
            "ANTHROPIC_BASE_URL": url,
        }
        made = House(folder, environment, port, SimulatorControl(url))
        write_spec(made, "evening")
        up = made.local("up")
        assert up.code == 0, up.out + up.err
        yield made
        made.local("down")


def write_spec(house: House, name: str, *, personas: int = 2, **changes: Any) -> None:
    axes = {
        "persona": ["Anxious Investor", "Confident Advisor", "New Parent", "Gig Worker", "Pre-Retiree"][:personas],
        "emotion": ["Fear", "Calm"],
        "topic": ["market volatility", "retirement planning"],
        "tier": ["template"],
    }
    spec = {"name": name, "model": "claude-sonnet-5-5", "templates": ["advice"], "axes": axes, "limits": QUICK, **changes}
    (house.folder / "configs" / "datasets" / f"{name}.yaml").write_text(yaml.safe_dump(spec))


class Nights:
    """The deployment `nightly`, whose schedule sends runs when the test says that it is two o'clock."""

    def __init__(self, house: House) -> None:
        self.house, self.id, self.seen = house, house.deployment("nightly"), set[str]()
        self.parameters: dict[str, Any] = {}
        for schedule in house.send("GET", f"/deployments/{self.id}/schedules", auth=house.auth)[1]:
            self._delete(schedule)

    def build(self, spec: str, **options: Any) -> None:
        """From now on the schedule builds this."""
        self.parameters = {"spec": spec, "options": {"simulate": True, **options}}
        self._update()

    def _update(self) -> None:
        """Of a deployment that was updated just now, the server looks at the schedules within seconds; of others once a minute."""
        code, said = self.house.send("PATCH", f"/deployments/{self.id}", {"parameters": self.parameters}, auth=self.house.auth)
        assert code == 204, said

    def pass_by(self, count: int = 1, every: int = 1) -> list[dict[str, Any]]:
        """Let nights pass: what the schedule has started, once it has ended or waits, the earliest first."""
        made = self._schedule(count, every)
        ended = wait_for(lambda: len(found := self.list_runs(*ENDS)) >= count and found, "the end of the night", 240)
        self.seen |= {run["id"] for run in ended}
        self._delete(made)
        return ended

    def list_runs(self, *states: str) -> list[dict[str, Any]]:
        mine = {"deployments": {"id": {"any_": [self.id]}}, "flow_runs": {"state": {"type": {"any_": list(states)}}}}
        runs = [run for run in self.house.ask("/flow_runs/filter", **mine) if run["id"] not in self.seen]
        assert all(run["auto_scheduled"] for run in runs)
        return sorted(runs, key=lambda run: run["expected_start_time"])

    def _schedule(self, count: int, every: int) -> dict[str, Any]:
        """A schedule of `count` times, as soon as the server's scheduler manages: what is over when it looks is scheduled no more."""
        for seconds in (8, 16, 32, 64):
            start = datetime.now(UTC) + timedelta(seconds=seconds)
            rule = f"DTSTART:{start:%Y%m%dT%H%M%SZ}\nRRULE:FREQ=SECONDLY;INTERVAL={every};COUNT={count}"
            [made] = self.house.ask(f"/deployments/{self.id}/schedules", [{"schedule": {"rrule": rule}, "active": True}])
            self._update()
            with suppress(AssertionError):
                wait_for(
                    lambda: len(self.list_runs("SCHEDULED", "PENDING", "RUNNING", *ENDS)) >= count, "scheduled runs", seconds + 4
                )
                return dict(made)
            self._delete(made)
        raise AssertionError("the server schedules nothing")

    def _delete(self, schedule: dict[str, Any]) -> None:
        assert self.house.send("DELETE", f"/deployments/{self.id}/schedules/{schedule['id']}", auth=self.house.auth)[0] == 204

    def versions(self, dataset: str) -> int:
        return len(list((self.house.folder / "data" / "versions" / "simulated" / dataset).glob("v*")))


@pytest.fixture(scope="module")
def nights(house: House) -> Nights:
    return Nights(house)


def spent(house: House, dataset: str) -> Decimal:
    query = "SELECT coalesce(sum(l.cost_pico), 0) FROM generation_logs l JOIN datasets d ON d.id = l.dataset_id"
    return Decimal(house.ledger(f"{query} WHERE d.name = '{dataset}'")[0][0]) / 10**12


def test_nights_make_what_is_missing_and_pay_nothing_twice(house: House, nights: Nights) -> None:
    def requests() -> int:
        return int(house.simulator.usage()["requests"])

    write_spec(house, "nightly")
    nights.build("nightly")
    [first] = nights.pass_by()
    assert (first["state"]["message"].split(";")[0], requests(), nights.versions("nightly")) == ("all 8 accepted", 8, 1)

    write_spec(house, "nightly", personas=3)  # a persona more
    [second] = nights.pass_by()
    assert (second["state"]["message"].split(";")[0], requests(), nights.versions("nightly")) == ("all 12 accepted", 12, 2)

    [third] = nights.pass_by()  # nothing to do
    assert (third["state"]["type"], requests(), nights.versions("nightly")) == ("COMPLETED", 12, 2)
    busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))  # on a machine that does other things as well it takes longer
    assert third["total_run_time"] <= 5 * busy

    write_spec(house, "nightly", personas=4)
    house.simulator.script("401", "401")  # as many as are in flight
    [failed] = nights.pass_by()
    assert failed["state"]["type"] == "FAILED"
    house.simulator.forget()
    before, paid = requests(), len(house.ledger("SELECT 1 FROM generation_logs WHERE cost_pico > 0"))
    assert nights.versions("nightly") == 2
    both = nights.pass_by(count=2, every=4)  # one comes while the other goes on, whichever the worker took first
    after, kept_out = sorted(both, key=lambda run: run["state"]["type"] == "CANCELLED")
    assert after["state"]["message"].startswith("all 16 accepted"), after["state"]
    assert kept_out["state"]["type"] == "CANCELLED"
    times = [count for (count,) in house.ledger("SELECT count(*) FROM generation_logs WHERE cost_pico > 0 GROUP BY request_id")]
    assert times == [1] * (paid + requests() - before)  # a draw more where an answer was not good enough, and none twice
    assert nights.versions("nightly") == 3


def test_the_budget_of_a_day_holds_over_all_nights_of_it(house: House, nights: Nights) -> None:
    write_spec(house, "daily", per_cell=4, budget={"account": "team", "day_usd": 0.15})
    nights.build("daily")
    [short] = nights.pass_by()
    assert (short["state"]["name"], "day budget of account 'team' reached" in short["state"]["message"]) == ("Partial", True)
    sent, paid = house.simulator.usage()["requests"], spent(house, "daily")
    assert 0 < paid <= Decimal("0.15")
    [still] = nights.pass_by()
    assert "day budget of account 'team' reached" in still["state"]["message"]
    write_spec(house, "daily-too", budget={"account": "team", "day_usd": 0.15})
    nights.build("daily-too")
    [other] = nights.pass_by()
    assert "day budget of account 'team' reached" in other["state"]["message"]
    assert (house.simulator.usage()["requests"], spent(house, "daily")) == (sent, paid)


def test_a_nights_run_above_the_limit_waits_for_a_yes_and_says_so(house: House, nights: Nights) -> None:
    write_spec(house, "approved", budget={"approve_above_usd": 0.001})
    nights.build("approved")
    [waits] = nights.pass_by()
    assert (waits["state"]["name"], waits["name"]) == ("Suspended", "approved · 8 to make · simulated")
    wanted = {"filter": {"event": {"name": ["convoforge.approval.wanted"]}}, "limit": 5}
    [event] = wait_for(lambda: house.ask("/events/filter", **wanted)["events"], "the event", 60)
    assert (event["payload"]["conversations"], event["payload"]["model"]) == (8, "claude-sonnet-5-5")
    assert event["payload"]["flow_run_id"] == waits["id"]
    [next_night] = nights.pass_by()
    assert next_night["state"]["type"] == "CANCELLED"
    assert f"waits for approval already: convoforge approve {waits['id'][:8]}" in next_night["state"]["message"]

    listed = house.run("approve", "--json")
    assert [one["id"] for one in listed.last["waiting"]] == [waits["id"]]
    assert "8 conversations in 8 cells with claude-sonnet-5-5, estimated at" in listed.last["waiting"][0]["question"]
    [held] = house.run("status", "--json").last["runs"]
    assert (held["run_id"], held["state"]) == (waits["id"].replace("-", ""), "waiting")
    assert held["message"].endswith(f"convoforge approve {waits['id'][:8]}")
    assert house.run("approve", "nobody").code == 2
    said = house.run("approve", waits["id"][:8])
    assert (said.code, said.out.startswith("approved: approved · 8 to make")) == (0, True), said.err
    nights.seen.discard(waits["id"])
    [done] = wait_for(lambda: [one for one in nights.list_runs(*ENDS) if one["state"]["type"] == "COMPLETED"], "its end", 180)
    assert done["state"]["message"].startswith("all 8 accepted")
    nights.seen.add(done["id"])

    nights.build("evening", approve_above_usd=0.001)
    [declined] = nights.pass_by()
    assert house.run("approve", declined["id"], "--decline").code == 0
    nights.seen.discard(declined["id"])
    [ended] = wait_for(lambda: [one for one in nights.list_runs(*ENDS) if one["state"]["type"] != "PAUSED"], "its end", 180)
    assert (ended["state"]["type"], ended["state"]["message"][:8]) == ("CANCELLED", "declined")
    states = {run["run_id"]: run["state"] for run in house.run("status", "--json").last["runs"]}
    assert states == {waits["id"].replace("-", ""): "completed", ended["id"].replace("-", ""): "partial"}
    nights.seen.add(ended["id"])


@contextmanager
def open_browser() -> Iterator[Any]:
    """A page of headless Chromium that reaches nothing beyond loopback; the test is skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next((path for name in names if (path := shutil.which(name))), None)
    if chromium is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1300, "height": 2200})
        page.set_default_timeout(60_000)
        page.route(re.compile(r"^https?://(?!127\.0\.0\.1[:/])"), lambda route: route.abort())
        yield page
        browser.close()


def test_a_run_is_started_and_approved_in_prefects_forms(house: House) -> None:
    build = house.deployment("build")
    of_build = {"deployments": {"id": {"any_": [build]}}}
    with open_browser() as page:
        ui = f"http://127.0.0.1:{house.port}/v2"
        page.goto(f"{ui}/deployments/deployment/{build}/run")
        page.locator("input[type=password]").fill(house.auth)
        page.keyboard.press("Enter")

        def field(name: str) -> Any:
            label = page.locator("label", has_text=re.compile(rf"^{re.escape(name)}( \(Optional\))?$"))
            return label.locator("xpath=ancestor::*[.//fieldset][1]")

        field("Speed: concurrency").wait_for()
        shown = page.locator("main").inner_text()
        for text in ("Maximum spend of this run, in US dollars.", "Let a local simulator answer: no key, no cost."):
            assert text in shown
        assert shown.index("Simulate (Optional)") < shown.index("What: limit (Optional)") < shown.index("Money: budget")
        field("spec").get_by_role("button", name="Select").or_(field("spec").get_by_role("combobox")).first.click()
        page.get_by_role("option", name="evening").click()
        field("Simulate").get_by_role("switch").click()
        for name, tab, value in (
            ("Money: approve_above_usd", "US dollars", "0.001"),
            ("What: limit", "Number", "3"),
            ("Speed: concurrency", "Number", "5000"),  # too many
        ):
            field(name).get_by_role("tab", name=tab).click()
            field(name).locator("input").fill(value)
        page.get_by_role("button", name="Submit").click()
        page.wait_for_timeout(2_000)
        assert page.url.endswith("/run")  # refused
        assert house.ask("/flow_runs/count", **of_build) == 0
        field("Speed: concurrency").locator("input").fill("2")
        page.get_by_role("button", name="Submit").click()

        def runs(*states: str) -> list[dict[str, Any]]:
            return list(house.ask("/flow_runs/filter", **of_build, flow_runs={"state": {"type": {"any_": list(states)}}}))

        [waits] = wait_for(lambda: runs("PAUSED", "FAILED", "CRASHED"), "a run that waits", 180)
        assert waits["state"]["name"] == "Suspended", waits["state"]
        assert waits["parameters"]["options"] == {
            **waits["parameters"]["options"],
            "simulate": True,
            "limit": 3,
            "concurrency": 2,
            "approve_above_usd": 0.001,
        }
        page.goto(f"{ui}/runs/flow-run/{waits['id']}")
        page.locator("button[aria-haspopup=menu]").first.click()
        page.get_by_role("menuitem", name="Resume").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_text("3 conversations in 8 cells with claude-sonnet-5-5, estimated at").wait_for()
        dialog.get_by_text("Select", exact=True).click()
        page.get_by_role("option", name="approve").click()
        dialog.get_by_role("button", name="Resume").click()
        [done] = wait_for(lambda: runs("COMPLETED", "FAILED", "CRASHED", "CANCELLED"), "the end of the run", 180)
        assert done["state"]["message"].startswith("as far as the option `limit` goes: 3 of 8 accepted"), done["state"]
        page.get_by_text("Limited").first.wait_for()
