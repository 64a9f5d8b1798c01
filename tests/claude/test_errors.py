"""Every error that the installed SDK can raise becomes one of ours, of the right kind: found by reflection, so that none is forgotten."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import aiohttp
import anthropic
import httpx2
import pytest
from aiohttp.client_reqrep import ConnectionKey
from hypothesis import given, settings
from hypothesis import strategies as st

from convoforge.claude import translate
from convoforge.claude.errors import make_connection_error
from convoforge.errors import ClaudeAPIError, FatalAPIError, OverloadError, RejectedError, TransientError, UnreadableError

REQUEST = httpx2.Request("POST", "https://api.anthropic.com/v1/messages", headers={"authorization": "Bearer sk-secret"})
KEY = "sk-ant-0123456789-secret"

BY_STATUS: dict[int, type[ClaudeAPIError]] = {
    400: RejectedError,
    401: FatalAPIError,
    402: FatalAPIError,
    403: FatalAPIError,
    404: RejectedError,
    405: RejectedError,
    408: TransientError,
    409: TransientError,
    412: RejectedError,
    413: RejectedError,
    422: RejectedError,
    429: OverloadError,
    431: RejectedError,
    499: TransientError,
    500: TransientError,
    501: TransientError,
    502: TransientError,
    503: TransientError,
    504: TransientError,
    520: TransientError,
    529: OverloadError,
}
"""What an HTTP status becomes."""

BY_CODE: dict[str, type[ClaudeAPIError]] = {
    "contract_spend_limit_reached": FatalAPIError,
    "enforced_spend_limit_reached": FatalAPIError,
    "organization_on_hold": FatalAPIError,
    "cmek_key_disabled": FatalAPIError,
    "cmek_key_network_blocked": FatalAPIError,
    "request_body_timeout": TransientError,
}
"""Where the cause makes of a status something else than it is by itself."""

AS_THEIR_STATUS = """
already_member available_tools_limit_exceeded bundle_attachment_not_supported bundle_on_call
cannot_invite_emails_with_unverified_domains cannot_remove_last_member cannot_sign_out_primary_owner cannot_sign_out_self
claude_code_key_creator_not_member claude_code_version_too_old cmek_feature_unsupported compaction_block_ambiguous
compaction_block_misplaced compaction_content_mismatch compaction_incomplete_turn compaction_nothing_to_summarize
compaction_signature_invalid compaction_too_many_tool_references compaction_tool_changes_mismatch email_domain_not_allowed
environment_archived external_key_in_workspace_policy external_key_validation_failed external_key_validation_timed_out
file_not_downloadable image_dimensions_too_large invalid_config_type_change invalid_metadata invite_already_exists
key_profile_mismatch org_api_key_limit_exceeded org_member_limit_exceeded organization_not_enrolled_in_beta
organization_type_not_supported parent_organization_required rbac_group_grants_owner_access rbac_group_order_limit_exceeded
rbac_group_owner_access_unconfirmed request_body_encoding_invalid request_body_encoding_unsupported scan_failed
settings_document_limit_exceeded settings_history_limit_exceeded slack_channel_set_up_settings_refused storage_quota_exceeded
thread_already_continued thread_continue_in_flight thread_fingerprint_mismatch thread_unsupported_request tool_name_conflict
tool_reference_unresolved unsupported_charset user_profile_not_found user_profile_required workspace_api_key_limit_exceeded
workspace_member_limit_exceeded workspace_policy_violation

linked_organization_billing_unavailable linked_organization_spend_limit_reached

api_key_scope_missing cannot_sign_out_managed_member cannot_sign_out_membership_admin cannot_sign_out_owner
cannot_sign_out_privileged_member claude_tag_writes_not_enabled compliance_configuration_restricted environment_create_disabled
environment_update_disabled organization_level_scoped_api_key_required sandbox_egress_restricted
spend_limits_admin_api_writes_not_enabled user_profile_billing_not_authorized user_profile_not_billable

environment_not_found file_expired rbac_group_managed_settings_not_found rbac_group_not_found rbac_role_not_found
slack_channel_set_up_environment_not_found thread_not_found

concurrent_membership_change external_key_changed plugin_name_taken scan_pending skill_name_taken skill_read_blocked_undecryptable
slack_channel_set_up_settings_conflict heartbeat_precondition_failed request_body_too_large_after_decoding

ramp_limit_exceeded cmek_context_unavailable cmek_key_unreachable registration_pending compaction_unavailable
""".split()
"""Causes that change nothing: what their status says holds."""

WITHOUT_STATUS: dict[str, type[ClaudeAPIError]] = {
    "APIConnectionError": TransientError,
    "APITimeoutError": TransientError,
    "APIResponseValidationError": UnreadableError,
    "RetryableError": TransientError,
    "CredentialsError": FatalAPIError,
    "IdentityTokenFileError": FatalAPIError,
    "WorkloadIdentityError": FatalAPIError,
    "MutuallyExclusiveAuthError": FatalAPIError,
    # the SDK refuses to call at all: so it would for every request
    "AnthropicError": FatalAPIError,
    "APIError": FatalAPIError,
    "APIWebhookValidationError": FatalAPIError,
    "AsyncOnSyncToolsetError": FatalAPIError,
    "BrowserStateError": FatalAPIError,
    "MissingDependencyError": FatalAPIError,
    "NestedCallError": FatalAPIError,
    "StreamAlreadyConsumed": FatalAPIError,
    "SyncOnAsyncToolsetError": FatalAPIError,
    "ToolsetClosedError": FatalAPIError,
    "ToolsetConfigError": FatalAPIError,
    "ToolsetContractError": FatalAPIError,
    "ToolsetUsageError": FatalAPIError,
    "ToolsetsFixedError": FatalAPIError,
}
"""Errors that are no answer of the API's."""


def status_error(
    status: int,
    body: object = None,
    cls: type[anthropic.APIStatusError] | None = None,
    headers: Mapping[str, str] | None = None,
) -> anthropic.APIStatusError:
    """An error as the SDK makes it from an answer."""
    if cls is not None or status < 300:
        response = httpx2.Response(status, headers=headers, request=REQUEST)
        return (cls or anthropic.APIStatusError)("Error code", response=response, body=body)
    return refused(httpx2.Response(status, headers=headers, content=json.dumps(body)))


def refused(response: httpx2.Response) -> anthropic.APIStatusError:
    """What the SDK raises where a server answers with this."""
    transport = httpx2.MockTransport(lambda _: response)
    http = httpx2.Client(transport=transport, follow_redirects=False)
    client = anthropic.Anthropic(api_key=KEY, max_retries=0, http_client=http, open_telemetry=False)
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.post("/v1/messages", cast_to=httpx2.Response, body={})
    return caught.value


def body(kind: Any = "invalid_request_error", message: Any = "words", code: str | None = None) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message, **({"details": {"error_code": code}} if code else {})}}


@cache
def error_classes() -> list[type[anthropic.AnthropicError]]:
    """Every error class of the SDK, its parts all imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in pkgutil.walk_packages(anthropic.__path__, "anthropic.", onerror=lambda _: None):
            try:
                importlib.import_module(module.name)
            except ImportError:  # a part that needs another package
                continue

    def below(cls: type[anthropic.AnthropicError]) -> Iterator[type[anthropic.AnthropicError]]:
        yield cls
        for one in cls.__subclasses__():
            yield from below(one)

    found = {cls for cls in below(anthropic.AnthropicError) if cls.__module__.partition(".")[0] == "anthropic"}
    return sorted(found, key=lambda cls: cls.__name__)


def code_of(cls: type[anthropic.AnthropicError]) -> str | None:
    """The cause that an error class stands for, if it is one."""
    declared = re.fullmatch(r"Literal\[['\"](\w+)['\"]\]", str(inspect.get_annotations(cls).get("error_code")))
    return declared and declared[1]


def statuses_of(cls: type[anthropic.APIStatusError]) -> list[int]:
    """The statuses an error class is raised for."""
    status = getattr(cls, "status_code", None)
    if status is not None:
        return [status]
    assert cls in (anthropic.APIStatusError, anthropic.InternalServerError), (
        f"which status has {cls.__name__}? see statuses_of in this test"
    )
    return [500, 502, 520] if cls is anthropic.InternalServerError else [405]


def test_the_sdk_has_errors_to_look_at() -> None:
    names = {cls.__name__ for cls in error_classes()}
    assert len(names) >= 100
    assert {"EnforcedSpendLimitReachedError", "APITimeoutError", "IdentityTokenFileError", "OverloadedError"} <= names


def test_every_error_of_the_sdk_was_thought_of() -> None:
    unknown = []
    for cls in error_classes():
        if not issubclass(cls, anthropic.APIStatusError):
            if cls.__name__ not in WITHOUT_STATUS:
                unknown.append(f"{cls.__name__} (no status)")
        elif (code := code_of(cls)) is None:
            unknown += [f"{cls.__name__} (status {status})" for status in statuses_of(cls) if status not in BY_STATUS]
        elif code not in BY_CODE and code not in AS_THEIR_STATUS:
            unknown.append(f"{cls.__name__} (status {statuses_of(cls)[0]}, error_code {code})")
    assert not unknown, (
        f"anthropic {anthropic.__version__} has errors this project never decided on: {', '.join(unknown)}. Decide for each whether it "
        "is transient, overload, rejected or fatal; see to it in convoforge.claude.translate; then list it at the top of this file"
    )


def test_an_answer_that_is_an_error_becomes_one_of_ours() -> None:
    for cls in error_classes():
        if not issubclass(cls, anthropic.APIStatusError):
            continue
        code = code_of(cls)
        for status in statuses_of(cls):
            error = status_error(
                status, body("some_error", "words of the API", code), cls, {"request-id": "req_1", "retry-after": "7"}
            )
            ours = translate(error)
            assert type(ours) is BY_CODE.get(code or "", BY_STATUS[status]), cls
            assert (ours.status, ours.kind, ours.request_id, ours.retry_after) == (status, "some_error", "req_1", 7)
            assert str(status) in str(ours) and "words of the API" in str(ours)
            assert ours.details == ({"error_code": code} if code else {})
            assert ours.maybe_billed == (status == 499)


def test_an_error_without_an_answer_becomes_one_of_ours() -> None:
    for cls in error_classes():
        if issubclass(cls, anthropic.APIStatusError):
            continue
        ours = translate(without_status(cls))
        assert type(ours) is WITHOUT_STATUS[cls.__name__], cls
        assert (ours.status, ours.retry_after) == (None, None)
        assert ours.kind and str(ours)


def without_status(cls: type[anthropic.AnthropicError]) -> anthropic.AnthropicError:
    """An error as the SDK might raise it."""
    if issubclass(cls, anthropic.APITimeoutError):
        return cls(REQUEST)
    if issubclass(cls, anthropic.APIConnectionError):
        return cls(request=REQUEST)
    if issubclass(cls, anthropic.APIResponseValidationError):
        return cls(httpx2.Response(200, request=REQUEST), None)
    if issubclass(cls, anthropic.APIError):
        return cls("words", REQUEST, body=None)
    made = cls.__new__(cls)  # their makers differ, and none of them is asked for
    Exception.__init__(made, "words")
    made.__dict__.update(request_id=None)
    return made


def test_a_kind_of_error_that_is_new_still_becomes_one_of_ours() -> None:
    class NewError(anthropic.AnthropicError):
        pass

    assert type(translate(NewError("words"))) is FatalAPIError
    assert type(translate(status_error(418, body("teapot_error")))) is RejectedError
    assert type(translate(status_error(599, None))) is TransientError


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("overloaded_error", OverloadError),
        ("rate_limit_error", OverloadError),
        ("api_error", TransientError),
        ("timeout_error", TransientError),
        ("invalid_request_error", RejectedError),
        ("request_too_large", RejectedError),
        ("authentication_error", FatalAPIError),
        ("billing_error", FatalAPIError),
        ("a_new_error", TransientError),
    ],
)
def test_an_error_that_comes_with_a_200_is_told_by_its_type(kind: str, expected: type[ClaudeAPIError]) -> None:
    for begun in (False, True):  # alone, or inside a stream of which something came before
        ours = translate(status_error(200, body(kind)), begun=begun)
        assert type(ours) is expected
        assert ours.maybe_billed is begun


@pytest.mark.parametrize(
    ("status", "kind", "said", "expected"),
    [
        (400, "overloaded_error", "Overloaded", OverloadError),
        (500, "overloaded_error", "Overloaded", OverloadError),
        (500, "api_error", "Overloaded", OverloadError),
        (400, "rate_limit_error", "slow down", OverloadError),
        (400, "api_error", "Internal server error", TransientError),
        (425, "error", "Too Early", TransientError),
        (408, "timeout_error", "too slow", TransientError),
        (421, "error", "Misdirected", TransientError),
        (407, "error", "Proxy Authentication Required", FatalAPIError),
    ],
)
def test_what_passes_is_told_by_type_and_status_together(
    status: int, kind: str, said: str, expected: type[ClaudeAPIError]
) -> None:
    assert type(translate(status_error(status, body(kind, said)))) is expected


def page(status: int, text: str = "<!DOCTYPE html><html><head><title>Just a\nmoment...</title></head></html>") -> ClaudeAPIError:
    return translate(refused(httpx2.Response(status, text=text, headers={"content-type": "text/html"})))


def test_a_page_of_a_proxy_is_no_word_of_the_api() -> None:
    for status in (400, 401, 402, 403, 404, 418, 451):
        ours = page(status)
        assert (type(ours), ours.kind, ours.maybe_billed) == (UnreadableError, "page", False), status
        assert "Just a moment..." in str(ours) and "<" not in str(ours)
    for status, expected in {405: RejectedError, 413: RejectedError, 429: OverloadError, 502: TransientError}.items():
        assert type(page(status)) is expected, status
    assert type(page(403, '{"type": "error", "error": {"type": "permission_error", "message": "no"}}')) is FatalAPIError


@pytest.mark.parametrize(
    ("wish", "status", "expected", "final"),
    [
        ("true", 400, TransientError, False),
        ("true", 403, TransientError, False),
        ("true", 402, FatalAPIError, False),
        ("true", 529, OverloadError, False),
        ("false", 500, TransientError, True),
        ("false", 529, OverloadError, True),
        ("false", 400, RejectedError, False),
        ("maybe", 500, TransientError, False),
    ],
)
def test_whether_to_try_again_is_the_server_s_own_word(
    wish: str, status: int, expected: type[ClaudeAPIError], final: bool
) -> None:
    ours = translate(status_error(status, body("some_error"), headers={"x-should-retry": wish}))
    assert (type(ours), ours.final) == (expected, final)


def test_a_redirect_is_no_answer_that_was_paid_and_says_where_it_leads() -> None:
    ours = translate(status_error(301, headers={"location": "https://elsewhere.example/v1"}))
    assert type(ours) is FatalAPIError
    assert not ours.maybe_billed
    assert "https://elsewhere.example/v1: set ANTHROPIC_BASE_URL" in str(ours)


def test_a_billing_error_is_fatal_whatever_its_status() -> None:
    assert type(translate(status_error(400, body("billing_error", "Your credit balance is too low")))) is FatalAPIError


@pytest.mark.parametrize(
    "said",
    [
        "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.",
        "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.",
        "You have reached your specified workspace API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.",
        "This request would exceed your organization's spend limit.",
        "Your monthly spending cap has been reached.",
        "Insufficient credits. Add more using https://proxy.example/credits",
        "You exceeded your current quota, please check your plan and billing details.",
        "Budget has been exceeded! Current cost: 10.2, Max budget: 10.0",
        "Prepaid balance depleted",
        "Billing hard limit has been reached",
        "Your account is out of funds",
        "No payment method: billing is required",
        "This organization has been disabled.",
        "Billing is not active for this project",
        "You have used all available credits",
        "Your organization's monthly limit has been reached",
        "Your card was declined",
        "Free tier limit exceeded",
        "Your trial has ended",
        "Daily cost limit reached",
        "Top up your wallet to continue",
        "API access is paused until your next billing cycle",
    ],
)
def test_an_account_at_its_end_is_fatal_by_whatever_words_and_status(said: str) -> None:
    for status in (400, 402, 403, 422):
        ours = translate(status_error(status, body("invalid_request_error", said)))
        assert type(ours) is FatalAPIError, status
        assert said[:100] in str(ours)
        assert not ours.maybe_billed


@pytest.mark.parametrize(
    "said",
    [
        "max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens",
        "prompt is too long: 209021 tokens > 200000 maximum",
        "input length and `max_tokens` exceed context limit: 199000 + 21333 > 200000, decrease input length or `max_tokens`",
        "Output blocked by content filtering policy",
        "messages.0.content: topic 'my credit balance is too low and my plan is suspended' is not allowed",
        "messages: text content blocks must be non-empty",
        "output_config.format.schema: usage of 'minLength' is over the limit",
        "Request exceeds the maximum size.",
        "thinking budget exceeded max_tokens",
        "The balance of roles is required to be even",
        "This model does not support structured outputs",
        "context window limit exceeded",
        "words",
    ],
)
def test_a_fault_of_one_request_is_not_taken_for_an_empty_account(said: str) -> None:
    assert type(translate(status_error(400, body("invalid_request_error", said)))) is RejectedError


def test_a_429_is_about_the_account_only_where_it_does_not_say_when_to_come_back() -> None:
    spent = body("rate_limit_error", "Your account has reached its spend limit")
    assert type(translate(status_error(429, spent))) is FatalAPIError
    assert type(translate(status_error(429, spent, headers={"retry-after": "30"}))) is OverloadError
    usual = (
        "This request would exceed your organization's rate limit of 50 requests per minute. For details, refer to the docs. You can see the "
        "response headers for current usage. Please reduce the prompt length or the maximum tokens requested, or try again later. You may "
        "also contact sales to discuss your options for a rate limit increase."
    )
    assert type(translate(status_error(429, body("rate_limit_error", usual)))) is OverloadError
    assert type(translate(status_error(503, body("api_error", "The billing service failed")))) is TransientError


def test_a_404_about_the_model_is_fatal_and_any_other_is_only_this_request_s() -> None:
    other = "The requested resource could not be found. Which model do you want?"
    assert type(translate(status_error(404, body("not_found_error", other)))) is RejectedError
    unknown = body("invalid_request_error", "The model `claude-x` does not exist or you do not have access to it")
    assert type(translate(status_error(404, unknown))) is FatalAPIError
    assert type(translate(status_error(404, body("not_found_error", "model: claude-sonnet-9")))) is FatalAPIError
    assert type(translate(status_error(404, body("not_found_error", "no such file")))) is RejectedError


@pytest.mark.parametrize(
    ("cause", "kind", "maybe_billed"),
    [
        (aiohttp.ClientConnectorError, "unreachable", False),
        (aiohttp.ClientConnectorDNSError, "unreachable", False),
        (aiohttp.ClientConnectorCertificateError, "unreachable", False),
        (aiohttp.ClientProxyConnectionError, "unreachable", False),
        (aiohttp.ConnectionTimeoutError, "unreachable", False),
        (aiohttp.SocketTimeoutError, "timeout", True),
        (TimeoutError, "timeout", True),
        (aiohttp.ClientOSError, "connection", True),
        (aiohttp.ServerDisconnectedError, "connection", True),
        (aiohttp.ClientConnectionResetError, "connection", True),
        (aiohttp.ClientPayloadError, "connection", True),
        (OSError, "connection", True),
    ],
)
def test_only_a_connection_that_was_never_made_is_surely_not_billed(
    cause: type[Exception], kind: str, maybe_billed: bool
) -> None:
    said = OSError(f"lost {KEY}")
    where = ConnectionKey("api.anthropic.com", 443, True, True, None, None, None)
    error = cause(where, said) if issubclass(cause, aiohttp.ClientConnectorError) else cause(str(said))
    ours = make_connection_error(error, "https://api.anthropic.com", [KEY])
    assert (type(ours), ours.kind, ours.maybe_billed) == (TransientError, kind, maybe_billed)
    assert kind == "timeout" or "https://api.anthropic.com" in str(ours)
    assert KEY not in str(ours)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("3", 3.0),
        ("0.5", 0.5),
        ("0", 0.0),
        ("-4", 0.0),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("soon", None),
        (None, None),
    ],
)
def test_retry_after_is_a_finite_number_of_seconds_or_none(told: str | None, seconds: float | None) -> None:
    headers = {} if told is None else {"retry-after": told}
    assert translate(status_error(429, body("rate_limit_error"), headers=headers)).retry_after == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "2500"}, 2.5),
        ({"retry-after-ms": "2500", "retry-after": "9"}, 2.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Thu, 26 Nov 2026 09:00:08 GMT"}, 8.0),
        ({"retry-after": "Thu, 26 Nov 2026 10:00:08 +0100"}, 8.0),
        ({"retry-after": "Thu, 26 Nov 2026 08:00:00 GMT"}, 0.0),
        ({"retry-after": "Thu, 99 Nov 2026"}, None),
        ({"retry-after": ""}, None),
    ],
)
def test_retry_after_is_read_as_the_sdk_reads_it(headers: Mapping[str, str], seconds: float | None) -> None:
    error = status_error(429, body("rate_limit_error"), headers=headers)
    assert translate(error, now=lambda: 1_795_683_600.0).retry_after == seconds  # Thu, 26 Nov 2026 09:00:00 GMT


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "type", "message", "details", "error_code"]), inner)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.integers(300, 599), json_values)
def test_whatever_a_server_says_an_error_is_fit_for_the_ledger(status: int, said: object) -> None:
    ours = translate(status_error(status, said))
    for text in (str(ours), ours.kind, *map(str, ours.details.values())):
        assert text.isprintable() or not text.strip()
        text.encode()  # no half of a surrogate pair
    assert len(ours.kind) <= 64
    assert len(str(ours)) < 1000
    assert all(len(str(value)) <= 64 for value in ours.details.values())


def test_a_page_of_html_is_cut_to_a_line() -> None:
    page = "<!doctype html>\n<html>\x1b[31m\0" + "<p>Bad gateway</p>\n" * 5000
    ours = translate(refused(httpx2.Response(502, text=page)))
    assert len(str(ours)) < 500
    assert "\n" not in str(ours) and "\x1b" not in str(ours) and "\0" not in str(ours)


@settings(deadline=None)
@given(st.text(max_size=400), st.text(max_size=400))
def test_a_key_that_a_server_echoes_is_in_nothing_of_the_error(before: str, after: str) -> None:
    told = f"{before}{KEY}{after}"
    error = status_error(400, body(kind=told, message=told, code=told))
    error.request_id = told
    ours = translate(error, [KEY])
    for start in range(len(KEY) - 12):  # no larger part of it either
        assert KEY[start : start + 13] not in repr([str(ours), repr(ours), vars(ours)])


def test_no_error_keeps_the_sdk_s_own_where_a_traceback_would_show_it() -> None:
    try:
        try:
            raise status_error(400, body(message=f"key {KEY}"))
        except anthropic.AnthropicError as error:
            raise translate(error, [KEY]) from None
    except ClaudeAPIError as error:
        assert KEY not in "".join(traceback.format_exception(error))


@pytest.mark.server  # it starts a process
def test_a_run_begins_before_the_sdk_is_imported() -> None:
    code = "import sys, convoforge.flows.build_dataset, convoforge.claude; print('anthropic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n", "it takes more than a second, by which a second build would start later"
