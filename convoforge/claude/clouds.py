"""The SDK's clients: one for Anthropic's own API, and one for each cloud that sells Claude (`CONVOFORGE_API`).

The SDK finds a cloud's credentials, region and address in its own environment variables. One error line names what is missing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import anthropic
import httpx2

from convoforge.errors import ClaudeAPIError, ConfigError, FatalAPIError, TransientError
from convoforge.settings import Api

SdkClient = (
    anthropic.AsyncAnthropic
    | anthropic.AsyncAnthropicAWS
    | anthropic.AsyncAnthropicBedrock
    | anthropic.AsyncAnthropicFoundry
    | anthropic.AsyncAnthropicVertex
)


@dataclass(frozen=True, slots=True)
class Cloud:
    """One cloud. `package` signs calls; it comes with our `extra`, and is not needed if one of the variables `keys` is set.
    `settings` tells a person what to set. `required` are variables that the SDK itself checks only when a call is made."""

    client: type[Any]
    settings: str
    package: str | None = None
    extra: str = ""
    keys: tuple[str, ...] = ()
    required: tuple[str, ...] = ()


_CLOUDS: dict[Api, Cloud] = {
    "bedrock": Cloud(
        anthropic.AsyncAnthropicBedrock,
        "set AWS_REGION, and AWS_BEARER_TOKEN_BEDROCK or AWS credentials (AWS_PROFILE, AWS_ACCESS_KEY_ID …)",
        package="boto3",
        extra="bedrock",
        keys=("AWS_BEARER_TOKEN_BEDROCK",),
    ),
    "vertex": Cloud(
        anthropic.AsyncAnthropicVertex,
        "set CLOUD_ML_REGION and ANTHROPIC_VERTEX_PROJECT_ID, and log in (gcloud auth application-default login, or "
        "GOOGLE_APPLICATION_CREDENTIALS)",
        package="google.auth",
        extra="vertex",
        required=("ANTHROPIC_VERTEX_PROJECT_ID",),
    ),
    "foundry": Cloud(
        anthropic.AsyncAnthropicFoundry,
        "set ANTHROPIC_FOUNDRY_API_KEY, and ANTHROPIC_FOUNDRY_RESOURCE or ANTHROPIC_FOUNDRY_BASE_URL",
    ),
    "aws": Cloud(
        anthropic.AsyncAnthropicAWS,
        "set AWS_REGION and ANTHROPIC_AWS_WORKSPACE_ID, and ANTHROPIC_AWS_API_KEY or AWS credentials (AWS_PROFILE, "
        "AWS_ACCESS_KEY_ID …)",
        package="boto3",
        extra="aws",
        keys=("ANTHROPIC_AWS_API_KEY",),
    ),
}


def make_clients(
    api: Api, keys: Sequence[str], base_url: str | None, http_client: httpx2.AsyncClient, timeout: httpx2.Timeout
) -> list[SdkClient]:
    """Make the SDK's clients: one per key for Anthropic's own API, one for a cloud. Without `base_url` the SDK finds the address.

    Raises `ConfigError` for a missing package or setting of a cloud.
    """
    options: dict[str, Any] = {
        "http_client": http_client,
        "timeout": timeout,
        "max_retries": 0,
        "open_telemetry": False,
    }
    if base_url is not None:
        options["base_url"] = base_url
    if api == "anthropic":
        first = anthropic.AsyncAnthropic(api_key=keys[0], **options)
        return [first, *(first.with_options(api_key=key) for key in keys[1:])]
    cloud = _CLOUDS[api]
    _check_package(api, cloud)
    if missing := [name for name in cloud.required if not os.environ.get(name)]:
        raise ConfigError(f"CONVOFORGE_API={api}: {', '.join(missing)} is not set: {cloud.settings}")
    try:
        return [cloud.client(**options)]
    except Exception as error:  # noqa: BLE001 - the SDK's and the cloud library's errors share no base class
        raise ConfigError(f"CONVOFORGE_API={api}: {cloud.settings}. The SDK says: {_shorten(error)}") from None


def translate_credentials(api: Api, error: Exception) -> ClaudeAPIError:
    """Translate an error that a cloud's library raised before anything was sent. Its `retryable` attribute makes it transient."""
    words = _shorten(error)
    if getattr(error, "retryable", False):
        return TransientError(f"the credentials for CONVOFORGE_API={api} could not be fetched: {words}", kind="credentials")
    return FatalAPIError(f"no usable credentials for CONVOFORGE_API={api}: {words}: {_CLOUDS[api].settings}", kind="credentials")


def list_secrets(keys: Sequence[str], clients: Sequence[SdkClient]) -> tuple[str, ...]:
    """Secrets that no text may show: the keys, and tokens that a cloud's library has fetched meanwhile."""
    client = clients[0]
    found = [getattr(client, name, None) for name in ("api_key", "access_token")]
    found += [getattr(getattr(client, "credentials", None), "token", None), os.environ.get("AWS_SESSION_TOKEN")]
    return (*keys, *(one for one in found if isinstance(one, str) and one and one not in keys))


def _check_package(api: Api, cloud: Cloud) -> None:
    if cloud.package is None or any(os.environ.get(name) for name in cloud.keys):
        return
    try:
        there = find_spec(cloud.package) is not None
    except ModuleNotFoundError:  # its parent package is missing
        there = False
    if not there:
        other = f", or set {cloud.keys[0]}" if cloud.keys else ""
        raise ConfigError(
            f"CONVOFORGE_API={api} needs the package {cloud.package}: pip install 'convoforge[{cloud.extra}]'{other}"
        )


def _shorten(error: Exception) -> str:
    return " ".join(f"{error}".split())[:300] or type(error).__name__
