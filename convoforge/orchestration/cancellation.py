"""How a run is stopped from outside: by Ctrl-C and SIGTERM, by Prefect's Cancel and Suspend. It always finishes what it has begun."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound, Pause
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Cancelled, Running

from convoforge.background import background_task
from convoforge.ledger.owners import UNEXPECTED_END

WATCH_SECONDS = 4.0
"""Seconds between two reads of a run's state: a Cancel or Suspend takes effect within 5 s."""

ASK_SECONDS = 2.0
"""Maximum seconds to find out what a SIGTERM is for: a worker sends one after a Cancel."""


@contextmanager
def handle_signals(stop: Callable[[str], None], give_up: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Ctrl-C and SIGTERM call `stop` with the reason; a second one gives up what is under way, and cancels the flow. A SIGTERM that comes
    of a Cancel in Prefect is called that.

    Used inside a flow: handlers set outside are lost in it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    flow = asyncio.current_task()
    asked = False
    questions: set[asyncio.Task[None]] = set()

    def handle(name: str) -> None:
        nonlocal asked
        if asked and flow is not None:
            give_up()
            flow.cancel()
        asked = True
        if name == "Ctrl-C":
            stop("stopped by Ctrl-C")
            return
        questions.add(question := loop.create_task(_stop_for_its_reason(stop)))
        question.add_done_callback(questions.discard)

    names = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
    before = {number: signal.getsignal(number) for number in names}
    for number, name in names.items():
        loop.add_signal_handler(number, handle, name)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


@asynccontextmanager
async def watch_prefect(stop: Callable[[str], None]) -> AsyncIterator[None]:
    """Cancel and Suspend in Prefect call `stop`. They do not stop a running flow by themselves, so its state is read every few seconds."""
    if not flow_run.id:
        yield
        return
    async with background_task(_watch(UUID(str(flow_run.id)), stop)):
        yield


async def end_state(state: State) -> State:
    """The state to end a flow with: the given one, unless somebody outside has asked for another end.

    A cancelled run ends as Cancelled, with the same message. One that was suspended, and that a worker can resume, stays so: raises
    `Pause`. One that nobody could resume ends as given.
    """
    if not flow_run.id:
        return state
    try:
        async with get_client() as client:
            run = await client.read_flow_run(UUID(str(flow_run.id)))
            asked = run.state
            if asked is None or not asked.is_paused():
                cancelled = asked is not None and (asked.is_cancelling() or asked.is_cancelled())
                return Cancelled(message=state.message, data=state.data) if cancelled else state
            if run.deployment_id is None or not asked.state_details.pause_reschedule:
                await client.set_flow_run_state(run.id, Running(), force=True)  # else Prefect takes no end of a paused run
                return state
    except Exception as error:  # noqa: BLE001 - what was made is in the ledger whether or not Prefect hears of it
        get_run_logger().warning("Prefect does not answer: %s", error)
        return state
    raise Pause(state=asked)


async def _stop_for_its_reason(stop: Callable[[str], None]) -> None:
    change = ""
    if flow_run.id:
        with suppress(Exception):  # whoever cannot be asked knows no better reason
            async with asyncio.timeout(ASK_SECONDS), get_client() as client:
                state = (await client.read_flow_run(UUID(str(flow_run.id)))).state
                change = _describe_change(state) if state is not None else ""
    stop(f"{change} in Prefect" if change else "stopped by SIGTERM")


async def _watch(run: UUID, stop: Callable[[str], None]) -> None:
    silent = False
    async with get_client() as client:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                state = (await client.read_flow_run(run)).state
            except ObjectNotFound:
                stop("the run was deleted in Prefect")
                return
            except Exception as error:  # noqa: BLE001 - the server may be away for a while; the run does not need it
                if not silent:
                    get_run_logger().warning("Prefect does not answer (%s); the run goes on", type(error).__name__)
                silent = True
                continue
            silent = False
            if state is not None and state.is_crashed() and state.message == UNEXPECTED_END:
                get_run_logger().warning("the run was taken for dead, perhaps after a sleep of the machine; it goes on")
                await client.set_flow_run_state(run, Running(), force=True)
            elif state is not None and (change := _describe_change(state)):
                stop(f"{change} in Prefect")
                return


def _describe_change(state: State) -> str:
    """What somebody outside has done to a run in this state; empty if it simply runs."""
    if state.is_cancelling() or state.is_cancelled():
        return "cancelled"
    if state.is_paused():
        return "suspended" if state.name == "Suspended" else "paused"
    return f"set to {state.name}" if state.is_final() else ""
