# shellcheck shell=bash
# The OpenSSH server in $dir: $dir/sftp/ holds its settings, keys, log and pid
# file, $dir/sftp-root the uploaded files, $dir/authorized_keys the public keys
# that may log in.
# shellcheck disable=SC2154 # The script that sources this sets dir.

sftp_user=cdr_data
sftp_password=password
# The password, as crypt(3) keeps it (SHA-512).
# shellcheck disable=SC2016 # The dollar signs are part of it.
sftp_password_hash='$6$cdrtest$lLJl2THMQOMK4.ppMmymaP0G.iKE5QjlFY8sxs4QhFUmJ3meJybPNeUgc87ZpUKC2Vge.Ta97rmGx7TjezeOG/'

sshd_config=sftp/sshd_config

sshd_pid() {
    recorded_pid "$dir/sftp/pid" "$dir/$sshd_config"
}

sshd_state() {
    process_state "$dir/sftp/pid" "$dir/$sshd_config"
}

sftp_port() {
    sed -n 's/^Port //p' "$dir/$sshd_config"
}

require_root_for_sftp() {
    can_be_root || die "sshd and the account $sftp_user need root: run this as root, allow sudo without a password, or give --no-sftp"
    command -v sshd >/dev/null || die "sshd is missing; run scripts/install-test-services"
}

# No shell can be had through the account, and no files outside its rights.
create_sftp_account() {
    id "$sftp_user" &>/dev/null && return
    echo "Creating the local account $sftp_user; its password is public, so remove it where others can log in: userdel --remove $sftp_user" >&2
    # Another start may create it at the same moment, and that is as good.
    as_root useradd --create-home --shell /usr/sbin/nologin --password "$sftp_password_hash" "$sftp_user" ||
        id "$sftp_user" >/dev/null || die "cannot create the account $sftp_user"
}

prepare_sftp() { # PORT
    mkdir "$dir/sftp" "$dir/sftp-root"
    ssh-keygen -q -t ed25519 -N '' -C cdr-test-server -f "$dir/sftp/host_key"
    echo "[127.0.0.1]:$1 $(<"$dir/sftp/host_key.pub")" >"$dir/sftp/known_hosts"
    write_sshd_config "$1" >"$dir/$sshd_config"
    if as_root sshd -t -o PerSourcePenalties=no -f "$dir/$sshd_config" 2>/dev/null; then
        # From 9.8 on, OpenSSH shuts out an address whose logins fail.
        echo 'PerSourcePenalties no' >>"$dir/$sshd_config"
    fi
    touch "$dir/authorized_keys"
    open_folders_to_sftp_user
}

# StrictModes would refuse keys below a folder that all may write to, as /tmp
# is. The limits are out of the tests' way: they open many connections at once
# and log in with wrong passwords.
write_sshd_config() { # PORT
    cat <<END
Port $1
ListenAddress 127.0.0.1
HostKey $dir/sftp/host_key
PidFile $dir/sftp/pid
LogLevel VERBOSE
UsePAM no
PasswordAuthentication yes
KbdInteractiveAuthentication no
PubkeyAuthentication yes
AuthorizedKeysFile $dir/authorized_keys
StrictModes no
AllowUsers $sftp_user
Subsystem sftp internal-sftp -d $dir/sftp-root -u 0022
ForceCommand internal-sftp -d $dir/sftp-root -u 0022
DisableForwarding yes
PermitTTY no
PrintMotd no
UseDNS no
MaxStartups 1000
MaxSessions 1000
MaxAuthTries 20
END
}

# The account must pass through $dir, which mktemp makes for its owner alone,
# but need not list it.
open_folders_to_sftp_user() {
    chmod go+x "$dir" "$dir/sftp-root"
    chmod go+r "$dir/sftp-root" "$dir/authorized_keys"
    as_root chown "$sftp_user:" "$dir/sftp-root"
    as_sftp_user test -w "$dir/sftp-root" ||
        die "the account $sftp_user cannot reach $dir/sftp-root, because it may not pass through $(first_closed_folder); give a folder below /tmp instead"
}

as_sftp_user() {
    as_root setpriv --reuid="$sftp_user" --regid="$sftp_user" --init-groups "$@"
}

first_closed_folder() {
    local folder='' part
    for part in $(tr / ' ' <<<"$dir"); do
        folder+=/$part
        if ! as_sftp_user test -x "$folder"; then
            break
        fi
    done
    echo "$folder"
}

# sshd goes to the background by itself, and writes its pid file once it listens.
launch_sshd() {
    sshd_log_lines_before=$(sshd_log_since 0 | wc -l)
    # Its own service makes this folder at boot; without it, sshd does not run.
    as_root mkdir -p -m 0755 /run/sshd
    as_root "$(command -v sshd)" -f "$dir/$sshd_config" -E "$dir/sftp/sshd.log" </dev/null >/dev/null 2>&1 ||
        sshd_failed "did not start"
    wait_until 10 sshd_listens_or_failed
    sshd_pid >/dev/null || sshd_failed "does not listen"
    check_sftp_login
}

# sshd makes its log readable for root alone.
sshd_log_since() { # LINE
    as_root tail --lines=+$(($1 + 1)) "$dir/sftp/sshd.log" 2>/dev/null || true
}

sshd_listens_or_failed() {
    sshd_pid >/dev/null || sshd_log_since "$sshd_log_lines_before" | grep --quiet 'Cannot bind any address'
}

check_sftp_login() {
    "$venv_python" "$scripts_dir/lib/check-sftp-login.py" 127.0.0.1 "$(sftp_port)" \
        "$sftp_user" "$sftp_password" "$dir/sftp/known_hosts" "$dir/sftp-root" ||
        sshd_failed "does not let $sftp_user in (if the account has another password: echo $sftp_user:$sftp_password | chpasswd)"
}

sshd_failed() { # WHAT
    if sshd_log_since "$sshd_log_lines_before" | grep --quiet 'Address already in use'; then
        die "sshd could not have port $(sftp_port) of 127.0.0.1: another process took it meanwhile. Start again"
    fi
    {
        printf '\n--- the end of %s\n' "$dir/sftp/sshd.log"
        sshd_log_since "$sshd_log_lines_before" | tail --lines=20
    } >&2
    die "sshd $1; the end of its log is above"
}

# Ends the server and the connections it has, as when a host goes away. It is
# halted first, so that it makes no new process while those it has are listed.
kill_sshd() {
    local pid
    pid=$(sshd_pid) || return 0
    as_root kill -s STOP "$pid"
    # shellcheck disable=SC2046 # One argument for each process.
    as_root kill -s KILL "$pid" $(descendants "$pid")
    wait_until 10 has_ended "$pid" "$dir/$sshd_config" || die "sshd (process $pid) does not end"
    rm -f "$dir/sftp/pid"
}

# Halts the server first, so that it makes no new process while those it has are
# listed; lets it go on last.
signal_sshd() { # STOP|CONT
    local pid
    local -a below
    pid=$(sshd_pid) || die "no SFTP server runs in $dir"
    [[ $1 != STOP ]] || as_root kill -s STOP "$pid"
    mapfile -t below < <(descendants "$pid")
    ((${#below[@]} == 0)) || as_root kill -s "$1" "${below[@]}"
    [[ $1 != CONT ]] || as_root kill -s CONT "$pid"
}

# Uploads belong to the account; the caller must be able to remove them.
give_back_sftp_files() {
    ((EUID == 0)) || [[ ! -d $dir/sftp-root ]] || as_root chown -R "$EUID" "$dir/sftp-root" "$dir/sftp"
}
