"""What `convoforge doctor` looks at: the configuration as it is now, against what production needs. Nothing is changed or paid."""

from convoforge.checks.run import run_checks
from convoforge.finding import Finding, State

__all__ = ["Finding", "State", "run_checks"]
