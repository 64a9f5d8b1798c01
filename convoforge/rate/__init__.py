"""The rate limiter that every request to the API passes: how many requests may be sent, and when."""

from convoforge.rate.keys import fingerprint
from convoforge.rate.limiter import (
    KINDS,
    SEND_WITHIN_SECONDS,
    Kind,
    LimiterStatus,
    Limits,
    Need,
    Permit,
    RateLimiter,
    describe_rate,
)
from convoforge.rate.window import WindowRateLimiter

__all__ = [
    "KINDS",
    "SEND_WITHIN_SECONDS",
    "Kind",
    "LimiterStatus",
    "Limits",
    "Need",
    "Permit",
    "RateLimiter",
    "WindowRateLimiter",
    "describe_rate",
    "fingerprint",
]
