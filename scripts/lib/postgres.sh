# shellcheck shell=bash
# The PostgreSQL server in $dir: $dir/postgres/ holds its data, log and pid file.
# It takes connections with and without TLS, by certificates from $dir/tls; the database
# with_certificate wants one from the client, too.
# shellcheck disable=SC2154 # The script that sources this sets dir.

# Who may log in, and owns everything.
postgres_user=cdr
postgres_password=postgres-password

postgres_data=postgres/data

# Prints the folder of the newest server's programs, which Debian keeps out of PATH.
postgres_programs() {
    local -a found
    mapfile -t found < <(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort --version-sort)
    if [[ -x ${found[-1]} ]]; then
        dirname "${found[-1]}"
    else
        dirname "$(command -v initdb)"
    fi
}

# The server refuses to be root, so then it is the account of Debian's package.
as_postgres() {
    if ((EUID == 0)); then
        setpriv --reuid=postgres --regid=postgres --init-groups "$@"
    else
        "$@"
    fi
}

require_postgres() {
    [[ -x $(postgres_programs 2>/dev/null)/pg_ctl ]] || die "PostgreSQL is missing; run scripts/install-test-services"
    ((EUID != 0)) || id postgres &>/dev/null || die "the account postgres is missing, which the server runs as when this runs as root"
}

postgres_pid() {
    recorded_pid "$dir/postgres/pid" "$dir/$postgres_data"
}

postgres_state() {
    process_state "$dir/postgres/pid" "$dir/$postgres_data"
}

postgres_port() {
    cat "$dir/postgres/port"
}

prepare_postgres() { # PORT
    mkdir "$dir/postgres"
    echo "$1" >"$dir/postgres/port"
    echo "$postgres_password" >"$dir/postgres/password"
    chmod go+x "$dir"
    ((EUID != 0)) || chown postgres: "$dir/postgres"
    as_postgres test -w "$dir/postgres" || die "the account postgres cannot reach $dir; give a folder below /tmp instead"
    as_postgres "$(postgres_programs)/initdb" --pgdata="$dir/$postgres_data" --username="$postgres_user" \
        --pwfile="$dir/postgres/password" --auth=scram-sha-256 --encoding=UTF8 --locale=C \
        --no-sync --no-instructions >"$dir/postgres/initdb.log" 2>&1 ||
        die "initdb failed: $(tail --lines=5 "$dir/postgres/initdb.log")"
    write_postgres_config "$1" >>"$dir/$postgres_data/postgresql.conf"
    provide_postgres_certificates
}

# The server wants its key to be its own.
provide_postgres_certificates() {
    local access="$dir/$postgres_data/pg_hba.conf"
    cp "$dir/tls/ca.pem" "$dir/tls/broker.pem" "$dir/postgres/"
    ((EUID != 0)) || chown postgres: "$dir/postgres/broker.pem"
    chmod 600 "$dir/postgres/broker.pem"
    sed --in-place '1i\
hostssl with_certificate all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\
hostnossl with_certificate all 127.0.0.1/32 reject' "$access"
}

# What the server has written survives its end, if not the machine's: that is
# all that tests need, and waiting for the disk would slow all of them.
write_postgres_config() { # PORT
    cat <<END
port = $1
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
external_pid_file = '$dir/postgres/pid'
fsync = off
ssl = on
ssl_ca_file = '$dir/postgres/ca.pem'
ssl_cert_file = '$dir/postgres/broker.pem'
ssl_key_file = '$dir/postgres/broker.pem'
END
}

# Returns when the server serves.
launch_postgres() {
    as_postgres "$(postgres_programs)/pg_ctl" start --pgdata="$dir/$postgres_data" --log="$dir/postgres/postgres.log" \
        --wait --timeout=60 --silent </dev/null >/dev/null 2>&1 || {
        tail --lines=20 "$dir/postgres/postgres.log" >&2
        die "PostgreSQL does not start on port $(postgres_port); the end of its log is above"
    }
}

# Ends the server and its connections at once, without putting anything in
# order: its next start recovers as after a crash.
kill_postgres() {
    local pid
    pid=$(postgres_pid) || return 0
    kill -s QUIT "$pid"
    wait_until 10 has_ended "$pid" "$dir/$postgres_data" || die "PostgreSQL (process $pid) does not end"
}
