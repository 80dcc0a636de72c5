"""Downloads a file with paramiko.

    get_paramiko.py HOST PORT USER PASSWORD KNOWN_HOSTS REMOTE LOCAL
"""

import sys

import paramiko

host, port, user, password, known_hosts, remote, local = sys.argv[1:]
with paramiko.SSHClient() as client:
    client.load_host_keys(known_hosts)
    client.connect(host, int(port), user, password, timeout=30, allow_agent=False, look_for_keys=False)
    with client.open_sftp() as sftp:
        sftp.get(remote, local)
