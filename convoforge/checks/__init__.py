"""What `convoforge doctor` looks at: the configuration as it is now, against what production needs. Nothing is changed or paid."""

from convoforge.checks.finding import Finding, State
from convoforge.checks.run import run_checks

__all__ = ["Finding", "State", "run_checks"]
