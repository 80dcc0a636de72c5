# shellcheck shell=bash
# Processes that outlive the script which starts them, known by pid files.
# A pid file counts only while the process with that id has the expected text
# in its command line: ids are given again, and a stranger must not be killed.

# Starts a command in a session of its own, so that it survives the caller's
# terminal, and lets go of the caller's streams, so that a reader of them
# does not wait for it.
launch() { # PID_FILE TEXT LOG COMMAND...
    local pid_file=$1 text=$2 log=$3
    shift 3
    setsid "$@" </dev/null >>"$log" 2>&1 &
    echo $! >"$pid_file"
    # The shell would report the end of a job which it has not disowned.
    disown
    # Until the new process has become the command, it would not be recognised.
    until is_process $! "$text" || ! kill -0 $! 2>/dev/null; do
        sleep 0.01
    done
}

# Prints the id of the recorded process; fails when it does not run.
recorded_pid() { # PID_FILE TEXT
    local pid
    pid=$(cat "$1" 2>/dev/null) || return 1
    is_process "$pid" "$2" || return 1
    echo "$pid"
}

# A process that has ended but was not reaped has an empty command line.
is_process() { # PID TEXT
    [[ $1 =~ ^[0-9]+$ ]] || return 1
    { tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null | grep --quiet --fixed-strings -- "$2"
}

# Prints running, paused or stopped.
process_state() { # PID_FILE TEXT
    local pid
    if ! pid=$(recorded_pid "$1" "$2"); then
        echo stopped
    elif grep --quiet '^State:[[:space:]]*T' "/proc/$pid/status" 2>/dev/null; then
        echo paused
    else
        echo running
    fi
}

# Prints the ids of all processes below a process.
descendants() { # PID
    local child
    local -a children
    read -d '' -ra children < <(cat "/proc/$1/task"/*/children 2>/dev/null) || true
    for child in "${children[@]}"; do
        echo "$child"
        descendants "$child"
    done
}

# Waits until a command succeeds; fails when it has not within the time.
wait_until() { # SECONDS_MAX COMMAND...
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

has_ended() { # PID TEXT
    ! is_process "$1" "$2"
}
