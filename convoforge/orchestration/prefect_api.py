"""Clients of the Prefect API."""

from __future__ import annotations

import ssl
from typing import Any

from prefect.client.orchestration import PrefectClient, get_client
from prefect.settings import PREFECT_API_URL

_PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # knows no certificate


def prefect_client(**httpx_settings: Any) -> PrefectClient:
    """A client as Prefect makes it. To a server without TLS it does not read the machine's certificates first: that blocks the event
    loop for 35 ms, and a run needs three clients."""
    if (PREFECT_API_URL.value() or "").startswith("http://"):
        httpx_settings = {"verify": _PLAIN, **httpx_settings}
    return get_client(httpx_settings=httpx_settings)
