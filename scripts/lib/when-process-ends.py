"""Waits for the process with the given id to end, then becomes a command.

    when-process-ends.py PID COMMAND [ARGUMENT]...

The kernel reports when the process ends, also when it was killed or still waits
to be reaped, and also when its id has been given to another process since.
"""

import os
import select
import sys

try:
    process = select.poll()
    process.register(os.pidfd_open(int(sys.argv[1])), select.POLLIN)
    process.poll()
except ProcessLookupError:
    pass  # It has ended already.
os.execvp(sys.argv[2], sys.argv[2:])
