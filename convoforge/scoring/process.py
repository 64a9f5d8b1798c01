"""Scores in a process of its own beside the one that makes conversations, whose event loop would spend a third of its time on filters.

Both ends speak over the process's pipes: a message is its length in four bytes and a pickle. The process ends when its input does, so
also when whoever began it is killed. Nothing depends on it: what it does not score is scored where it was asked for.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from convoforge.background import end_task
from convoforge.errors import ConfigError, ConvoforgeError
from convoforge.models import Conversation
from convoforge.planning.spec import DatasetSpec
from convoforge.planning.templates import Library
from convoforge.scoring import Rubric, Scored, ScoringContext

AT_ONCE = 64
"""Maximum number of conversations in a message."""

_LENGTH = 4
_LOG = logging.getLogger(__name__)

_Waiting = tuple[Conversation, ScoringContext, "asyncio.Future[Scored]"]


class ScoringProcess:
    """Scores conversations with a spec's rubric: in a process of its own that `begin` starts; here before it, and after it has ended.
    Belongs to one event loop; close it."""

    def __init__(self, spec: DatasetSpec, rubric: Rubric, config_dir: Path) -> None:
        self._rubric = rubric
        self._first = spec, config_dir, sys.path
        self._waiting: list[_Waiting] = []
        self._asked: list[_Waiting] = []
        self._woken = asyncio.Event()
        self._work: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start the process, once, unless there is no core for it. It takes two seconds to be ready, and is waited for."""
        if self._work is None and (os.cpu_count() or 1) > 1:
            self._work = asyncio.create_task(self._serve())

    @property
    def begun(self) -> bool:
        """Whether there is a process, or one is being started."""
        return self._work is not None and not self._work.done()

    async def score(self, conversation: Conversation, context: ScoringContext) -> Scored:
        """Score a conversation. Raises `ConfigError` if a scorer fails."""
        if not self.begun:
            return self._rubric.score(conversation, context)
        future: asyncio.Future[Scored] = asyncio.get_running_loop().create_future()
        self._waiting.append((conversation, context, future))
        self._woken.set()
        return await future

    async def aclose(self) -> None:
        """End the process, if there is one."""
        if self._work is not None:
            await end_task(self._work)
            if not self._work.cancelled():
                self._work.result()

    async def _serve(self) -> None:
        try:
            await self._talk()
        except (OSError, EOFError, ConfigError) as error:
            _LOG.warning("no process scores beside this one any more, which does it itself: %s", str(error) or repr(error))
        finally:
            for conversation, context, future in (*self._asked, *self._waiting):
                if not future.done():
                    try:
                        future.set_result(self._rubric.score(conversation, context))
                    except Exception as error:  # noqa: BLE001 - raised where it was asked for
                        future.set_exception(error)

    async def _talk(self) -> None:
        """Start the process and ask it. Raises `ConfigError` where it cannot score, `OSError` or `EOFError` where it ends."""
        command, pipe = (sys.executable, "-m", "convoforge.scoring.process"), asyncio.subprocess.PIPE
        # in a session of its own, so that a Ctrl-C in the terminal does not reach it
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, start_new_session=True)
        try:
            if (fault := await _ask(process, self._first)) is not None:
                raise ConfigError(fault)
            while True:
                await self._woken.wait()
                self._woken.clear()
                while self._waiting:
                    self._asked, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
                    results = await _ask(process, [one[:2] for one in self._asked])
                    for (*_, future), result in zip(self._asked, results, strict=True):
                        if future.done():  # whoever asked has left
                            continue
                        if isinstance(result, Scored):
                            future.set_result(result)
                        else:
                            future.set_exception(ConfigError(result))
        finally:
            with suppress(ProcessLookupError):
                process.kill()  # it keeps nothing
            await process.wait()


async def _ask(process: asyncio.subprocess.Process, message: object) -> Any:
    """What the process answers. Raises `OSError` or `EOFError` where it has ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.writelines(_write(message))
    await process.stdin.drain()
    length = int.from_bytes(await process.stdout.readexactly(_LENGTH), "big")
    return pickle.loads(await process.stdout.readexactly(length))  # noqa: S301 - our own process wrote it


def _write(message: object) -> tuple[bytes, bytes]:
    text = pickle.dumps(message)
    return len(text).to_bytes(_LENGTH, "big"), text


def _score(rubric: Rubric, asked: Sequence[tuple[Conversation, ScoringContext]]) -> list[Scored | str]:
    results: list[Scored | str] = []
    for conversation, context in asked:
        try:
            results.append(rubric.score(conversation, context))
        except ConvoforgeError as error:
            results.append(str(error))
    return results


def _answer(read: IO[bytes], write: IO[bytes]) -> None:
    """Answer until the input ends: to a spec whether it can be scored by, then to conversations."""
    rubric: Rubric | None = None
    while length := read.read(_LENGTH):
        message = pickle.loads(read.read(int.from_bytes(length, "big")))  # noqa: S301 - whoever began us wrote it
        result: object = None
        if rubric is None:
            spec, config_dir, sys.path[:] = message
            try:
                rubric = Rubric.of(spec, Library.at(config_dir))
            except ConvoforgeError as error:
                result = str(error)
        else:
            result = _score(rubric, message)
        write.writelines(_write(result))
        write.flush()


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a scorer prints is no answer
    _answer(sys.stdin.buffer, answers)
