"""What the scripts beside this one share."""

import sys
import time

ADDRESS = sys.argv[2] if len(sys.argv) > 2 else None
DEADLINE = time.monotonic() + 50


def until(attempt, what):
    """Calls `attempt`, which itself waits for a moment, until it returns something."""
    while time.monotonic() < DEADLINE:
        result = attempt()
        if result:
            return result
    raise AssertionError(f"waited in vain: {what}")


def expect(error, action, *arguments, **named):
    try:
        action(*arguments, **named)
    except error as raised:
        return raised
    raise AssertionError(f"no {error} from {action}{arguments}")


def equal(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"


def main(*checks):
    {check.__name__: check for check in checks}[sys.argv[1]]()
