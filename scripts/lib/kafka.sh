# shellcheck shell=bash
# The Kafka brokers in $dir: $dir/broker-N/ holds the settings, data, log and
# pid file of broker N. Each is broker and controller in one process (KRaft).
# shellcheck disable=SC2154 # The script that sources this sets dir.

broker_config() { # N
    echo "$dir/broker-$1/server.properties"
}

broker_pid() { # N
    recorded_pid "$dir/broker-$1/pid" "$(broker_config "$1")"
}

broker_state() { # N
    process_state "$dir/broker-$1/pid" "$(broker_config "$1")"
}

broker_address() { # N
    sed -n 's:^advertised\.listeners=CLIENT\://::p' "$(broker_config "$1")"
}

# Prints the numbers of the brokers that were set up in $dir.
all_brokers() {
    local folder
    for folder in "$dir"/broker-*/; do
        [[ -e $folder/server.properties ]] || continue
        folder=${folder%/}
        echo "${folder##*/broker-}"
    done
}

# Prints the numbers of the brokers that run and are not paused.
running_brokers() {
    local n
    for n in $(all_brokers); do
        [[ $(broker_state "$n") != running ]] || echo "$n"
    done
}

require_broker() { # N
    [[ $1 =~ ^[1-9]$ ]] || die "'$1' is not the number of a broker; give one after the folder"
    [[ -e $(broker_config "$1") ]] || die "there is no broker $1 in $dir; there are: $(all_brokers | xargs)"
}

require_broker_state() { # N STATE...
    local n=$1 state
    require_broker "$n"
    state=$(broker_state "$n")
    shift
    [[ " $* " == *" $state "* ]] || die "broker $n in $dir is $state; this works only when it is: $*"
}

# Broker N takes the ports 2N-1 (clients and brokers) and 2N (controllers).
write_broker_config() { # N COUNT PORT...
    local n=$1 count=$2 voters='' other
    local -a ports=(unused "${@:3}")
    for ((other = 1; other <= count; other++)); do
        voters+=,$other@127.0.0.1:${ports[2 * other]}
    done
    mkdir "$dir/broker-$n"
    {
        cat <<END
process.roles=broker,controller
node.id=$n
controller.quorum.voters=${voters#,}
listeners=CLIENT://127.0.0.1:${ports[2 * n - 1]},CONTROLLER://127.0.0.1:${ports[2 * n]}
advertised.listeners=CLIENT://127.0.0.1:${ports[2 * n - 1]}
log.dirs=$dir/broker-$n/data
END
        common_broker_config "$((count < 3 ? count : 3))" "$((count < 2 ? count : 2))"
    } >"$(broker_config "$n")"
}

common_broker_config() { # REPLICAS REPLICAS_IN_SYNC_MIN
    cat <<END
listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=CLIENT
controller.listener.names=CONTROLLER

default.replication.factor=$1
min.insync.replicas=$2
offsets.topic.replication.factor=$1
transaction.state.log.replication.factor=$1
transaction.state.log.min.isr=$2
share.coordinator.state.topic.replication.factor=$1
share.coordinator.state.topic.min.isr=$2
auto.create.topics.enable=true

# Few partitions and threads, and small buffers: three brokers share a small
# machine with the tests, and are started for each of them.
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=16777216

# Tests wait for none of these: a group begins at once, a transaction whose
# time is over is aborted within a second, and a broker that was killed is
# replaced as leader (and may come back) after four seconds.
group.initial.rebalance.delay.ms=0
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
END
}

# Kafka takes 22 characters of base64; the first is fixed, as a minus sign
# there would be taken for an option.
new_cluster_id() {
    local random
    random=$(head --bytes=16 /dev/urandom | base64 | tr '+/' '-_')
    echo "c${random:1:21}"
}

# Becomes the tool, so that a job of this function is the tool's process.
exec_format_broker() { # N CLUSTER_ID
    exec </dev/null >>"$dir/broker-$1/broker.log" 2>&1
    exec_kafka_java kafka.tools.StorageTool format --cluster-id "$2" --config "$(broker_config "$1")"
}

format_brokers() { # COUNT CLUSTER_ID
    local n
    local -a jobs=()
    for ((n = 1; n <= $1; n++)); do
        exec_format_broker "$n" "$2" &
        jobs+=($!)
    done
    for ((n = 1; n <= $1; n++)); do
        wait "${jobs[n - 1]}" || broker_failed "$n" "could not format its data folder"
    done
}

launch_broker() { # N
    launch "$dir/broker-$1/pid" "$(broker_config "$1")" "$dir/broker-$1/broker.log" \
        "$scripts_dir/lib/run-broker" "$(broker_config "$1")"
}

# Waits until the running brokers answer and know each other. A broker lists
# only those which the active controller has admitted, so there is one then.
wait_for_brokers() { # N_THAT_MUST_RUN...
    local n deadline=$((SECONDS + 60))
    while
        for n in "$@"; do
            broker_pid "$n" >/dev/null || broker_failed "$n" "ended while starting"
        done
        ! brokers_know_each_other
    do
        ((SECONDS < deadline)) || brokers_failed "the brokers are not ready after 60 s" "$@"
        sleep 0.2
    done
}

brokers_know_each_other() {
    local viewer n listed
    for viewer in $(running_brokers); do
        listed=$(kcat -L -m 2 -b "$(broker_address "$viewer")" 2>/dev/null) || return 1
        for n in $(running_brokers); do
            [[ $listed == *"broker $n at $(broker_address "$n")"* ]] || return 1
        done
    done
}

# Controllers need a majority of all to elect a leader, and brokers a leader to start.
have_quorum() {
    (($(running_brokers | wc -l) > $(all_brokers | wc -l) / 2))
}

broker_failed() { # N WHAT
    local n=$1 log=$dir/broker-$1/broker.log
    # The log begins with the broker's earlier lives, which have their own failures.
    if tail --lines=200 "$log" | grep --quiet 'Address already in use'; then
        die "broker $n could not have a port of $(sed -n 's/^listeners=//p' "$(broker_config "$n")"): another process took it meanwhile. Start again"
    fi
    brokers_failed "broker $n $2" "$n"
}

brokers_failed() { # WHAT N...
    local what=$1 n
    shift
    for n in "$@"; do
        printf '\n--- the end of %s\n' "$dir/broker-$n/broker.log"
        tail --lines=40 "$dir/broker-$n/broker.log"
    done >&2
    die "$what; the ends of the logs are above"
}

signal_broker() { # N SIGNAL
    kill -s "$2" "$(broker_pid "$1")"
}

# The data are thrown away, so no broker needs the time of an orderly end.
kill_broker() { # N
    local pid
    pid=$(broker_pid "$1") || return 0
    kill -s KILL "$pid"
    wait_until 10 has_ended "$pid" "$(broker_config "$1")" || die "broker $1 (process $pid) does not end"
    rm -f "$dir/broker-$1/pid"
}
