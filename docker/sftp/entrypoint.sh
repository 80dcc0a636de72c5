#!/bin/bash
# Makes the account and, on the first start, the host keys; then becomes sshd.
# Arguments are passed to sshd.
set -euo pipefail

user=${SFTP_USER:-cdr_data}
password=${SFTP_PASSWORD:?set the password of the SFTP account}
unset SFTP_PASSWORD

keys=/etc/ssh/keys
upload=/srv/sftp/upload

# ssh-keygen writes the public half last: where it is missing, an earlier start was interrupted.
for type in ed25519 rsa; do
    key=$keys/ssh_host_${type}_key
    if [[ ! -s $key.pub ]]; then
        rm -f "$key"
        ssh-keygen -q -t "$type" -N '' -C '' -f "$key"
    fi
done

# The uid is fixed, so that files on the volume keep their owner when the name changes.
if ! id "$user" >/dev/null 2>&1; then
    useradd --uid 1000 --home-dir /srv/sftp --no-create-home --shell /usr/sbin/nologin "$user"
fi
printf '%s:%s\n' "$user" "$password" | chpasswd
chown "$user" "$upload"

# In a container that was stopped and started again, /run may be empty.
mkdir -p /run/sshd
exec /usr/sbin/sshd -D -e "$@"
