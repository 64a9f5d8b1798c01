"""One conversation, or up to a hundred, outside any dataset: the seed's generator, for products and for a look.

Ad-hoc requests carry a nonce: two identical ones are two conversations. They lie in the ledger like everything that is paid for,
in the dataset `adhoc`.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from convoforge.capabilities import takes_structured
from convoforge.claude import SIMULATOR_KEY, Claude
from convoforge.errors import ConfigError, ConvoforgeError, DoomError
from convoforge.gate import Gate, GateStatus, Limits, WindowGate, fingerprint
from convoforge.generator import Control, ConversationGenerator, Job, wrong_provider
from convoforge.ledger import Ledger
from convoforge.ledger.draws import claim, enrol_one, write_scores
from convoforge.ledger.owners import new_owner, register, retire
from convoforge.ledger.runs import close_run, dataset_id, keep_spec, open_run
from convoforge.models import ConversationRequest, Outcome, Provider, Status
from convoforge.plan import Cell, shape
from convoforge.pricing import price_of
from convoforge.quality import RUBRIC_VERSION
from convoforge.quality.duplicates import content_hash
from convoforge.settings import Settings
from convoforge.spec import Axes, Budget, DatasetSpec, Generation, RateLimits
from convoforge.templates import Library

MOST_IN_A_BATCH = 100
DATASET = "adhoc"
DEFAULT_MODEL = "claude-sonnet-5-5"
