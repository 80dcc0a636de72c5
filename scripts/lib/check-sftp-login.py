"""Logs in to the SFTP server that services.env describes, as a test would.

    check-sftp-login.py HOST PORT USER PASSWORD KNOWN_HOSTS ROOT

Fails unless the host key is the expected one, the password is accepted, and
the session begins in the upload folder, with permission to write there.
"""

import sys

import paramiko

host, port, user, password, known_hosts, root = sys.argv[1:]
client = paramiko.SSHClient()
client.load_host_keys(known_hosts)
try:
    client.connect(host, int(port), user, password, timeout=10, allow_agent=False, look_for_keys=False)
    sftp = client.open_sftp()
    found = sftp.normalize(".")
    if found != root:
        sys.exit(f"the session begins in {found}, not in {root}")
    sftp.open(".login-check", "w").close()
    sftp.remove(".login-check")
except (OSError, paramiko.SSHException) as error:
    sys.exit(f"{type(error).__name__}: {error}")
finally:
    client.close()
