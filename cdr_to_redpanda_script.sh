#!/usr/bin/env bash
# Runs the generator on this machine, in the dev environment, against the services that
# docker-compose publishes on localhost. See --help.
set -euo pipefail

readonly exit_unreachable=4
readonly connect_limit_seconds=3

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
    cat <<'HELP'
Generates call detail records and delivers them to the SFTP server and to Redpanda on localhost.

Usage: cdr_to_redpanda_script.sh [OPTIONS OF `cdr run`]

Checks that the services answer, finds the program `cdr` (on the PATH, then in target/release,
else it is built) and becomes `cdr run` with the options given. `cdr run --help` lists them.

Environment variables, with the default of the dev environment:
  SFTP_HOST      SFTP server                              [localhost]
  SFTP_PORT      its TCP port                             [10022]
  KAFKA_BROKERS  brokers, host:port separated by commas   [localhost:19092,localhost:29092,localhost:39092]
All other variables that `cdr` knows reach it too, such as SFTP_PASSWORD and TOTAL_SECONDS. Name
another server by variable, not by option: the check reads the variables only.

Examples:
  docker-compose up -d sftp redpanda-0 redpanda-1 redpanda-2    start what this needs
  ./cdr_to_redpanda_script.sh                                   one day of records
  TOTAL_SECONDS=3600 ./cdr_to_redpanda_script.sh                one hour of records
  SFTP_HOST=files.example SFTP_PORT=22 ./cdr_to_redpanda_script.sh

Exit codes: 4 when a service cannot be reached, 1 when the program cannot be built, otherwise
that of `cdr run`.
HELP
}

log() {
    printf '%s\n' "$*" >&2
}

# Whether a TCP connection to host $1, port $2 succeeds within the limit. The shell's connect has
# no limit of its own and `timeout` is not on every system, so a child tries and is stopped.
answers() {
    local child tenths=0
    (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null &
    child=$!
    while kill -0 "$child" 2>/dev/null; do
        if ((tenths >= connect_limit_seconds * 10)); then
            kill "$child" 2>/dev/null || true
            wait "$child" 2>/dev/null || true
            return 1
        fi
        sleep 0.1
        tenths=$((tenths + 1))
    done
    wait "$child" 2>/dev/null
}

check_sftp() {
    local host=${SFTP_HOST:-localhost} port=${SFTP_PORT:-10022}
    if answers "$host" "$port"; then
        return 0
    fi
    complaints+=("the SFTP server does not answer at $host:$port")
    return 1
}

# One broker is enough to find the others, so this fails only when none answers.
check_brokers() {
    local list=${KAFKA_BROKERS:-localhost:19092,localhost:29092,localhost:39092}
    local broker address host port reachable=0
    local -a brokers
    IFS=', ' read -r -a brokers <<<"$list"
    for broker in "${brokers[@]}"; do
        address=${broker#*://}
        host=$address port=9092
        if [[ $address =~ ^(.+):([0-9]+)$ ]]; then
            host=${BASH_REMATCH[1]} port=${BASH_REMATCH[2]}
        fi
        host=${host#[}
        if answers "${host%]}" "$port"; then
            reachable=$((reachable + 1))
        else
            complaints+=("the Kafka broker does not answer at $broker")
        fi
    done
    ((reachable > 0))
}

check_services() {
    local complaint level=WARNING
    complaints=()
    check_sftp || level=ERROR
    check_brokers || level=ERROR
    if ((${#complaints[@]} == 0)); then
        return
    fi
    for complaint in "${complaints[@]}"; do
        log "$level: $complaint"
    done
    log "Start the services: docker-compose up -d sftp redpanda-0 redpanda-1 redpanda-2"
    if [[ $level == ERROR ]]; then
        exit "$exit_unreachable"
    fi
}

# Sets `program` to the path of the binary, building it where there is none.
find_program() {
    local built=${CARGO_TARGET_DIR:-$root/target}/release/cdr
    if program=$(type -P cdr); then
        return
    fi
    program=$built
    if [[ -x $program ]]; then
        return
    fi
    if ! type -P cargo >/dev/null; then
        log "ERROR: no program cdr on the PATH or at $built, and no cargo to build it"
        log "Install Rust, or run it in a container: docker-compose up cdr"
        exit 1
    fi
    log "Building cdr, which takes a few minutes the first time"
    if ! cargo build --release --locked -p cdr --manifest-path "$root/Cargo.toml" >&2; then
        log "ERROR: cdr could not be built"
        exit 1
    fi
}

for argument in "$@"; do
    case $argument in
        -h | --help)
            usage
            exit 0
            ;;
    esac
done

# The program takes the dev defaults where USER is set; under cron and the like it is not.
export USER="${USER:-$(id -un)}"

check_services
find_program
# Taking over the process lets SIGTERM and Ctrl-C reach the program itself.
exec "$program" run "$@"
