# shellcheck shell=bash
# The Kafka brokers in $dir: $dir/broker-N/ holds the settings, data, log and
# pid file of broker N. Each is broker and controller in one process (KRaft), and
# listens for clients four times: in the clear, with TLS and a login (SASL), with
# TLS where client and broker both have certificates, which are in $dir/tls, and in
# the clear under a name in place of an address, which clients must know how to
# resolve, and which leads to whatever a test puts in between.
# shellcheck disable=SC2154 # The script that sources this sets dir.

# Who may log in where a login is required.
kafka_user=cdr
kafka_password=kafka-password

# Below the one domain that is for tests alone (RFC 6761).
kafka_name=kafka.cdr.test

broker_config() { # N
    echo "$dir/broker-$1/server.properties"
}

broker_pid() { # N
    recorded_pid "$dir/broker-$1/pid" "$(broker_config "$1")"
}

broker_state() { # N
    process_state "$dir/broker-$1/pid" "$(broker_config "$1")"
}

broker_address() { # N [LISTENER]
    sed -n "s#^listeners=.*${2:-CLIENT}://\([^,]*\).*#\1#p" "$(broker_config "$1")"
}

# Prints the addresses of one listener of all brokers, with commas between.
broker_addresses() { # LISTENER
    local n addresses=
    for n in $(all_brokers); do
        addresses+=,$(broker_address "$n" "$1")
    done
    echo "${addresses#,}"
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

# Ports of each broker: clients and brokers, controllers, login, certificates, name.
ports_per_broker=5

# Broker N takes the Nth five of the ports.
write_broker_config() { # N COUNT PORT...
    local n=$1 count=$2 voters='' other
    local -a ports=("${@:3}") own
    own=("${ports[@]:ports_per_broker*(n-1):ports_per_broker}")
    for ((other = 0; other < count; other++)); do
        voters+=,$((other + 1))@127.0.0.1:${ports[ports_per_broker * other + 1]}
    done
    mkdir "$dir/broker-$n"
    {
        cat <<END
process.roles=broker,controller
node.id=$n
controller.quorum.voters=${voters#,}
listeners=CLIENT://127.0.0.1:${own[0]},CONTROLLER://127.0.0.1:${own[1]},LOGIN://127.0.0.1:${own[2]},CERTIFICATE://127.0.0.1:${own[3]},NAMED://127.0.0.1:${own[4]}
advertised.listeners=CLIENT://127.0.0.1:${own[0]},LOGIN://127.0.0.1:${own[2]},CERTIFICATE://127.0.0.1:${own[3]},NAMED://$kafka_name:${own[4]}
log.dirs=$dir/broker-$n/data
END
        common_broker_config "$((count < 3 ? count : 3))" "$((count < 2 ? count : 2))"
    } >"$(broker_config "$n")"
}

common_broker_config() { # REPLICAS REPLICAS_IN_SYNC_MIN
    cat <<END
listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT,LOGIN:SASL_SSL,CERTIFICATE:SSL,NAMED:PLAINTEXT
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

ssl.keystore.type=PEM
ssl.keystore.location=$dir/tls/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location=$dir/tls/ca.pem
listener.name.certificate.ssl.client.auth=required
listener.name.login.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.login.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_$kafka_user="$kafka_password";
listener.name.login.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.login.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;

# What no rule is made for, anyone may do; where there are rules, they hold for
# who comes with a login alone.
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
super.users=User:ANONYMOUS;User:CN=cdr-broker;User:CN=cdr-client

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
    exec_kafka_java kafka.tools.StorageTool format --cluster-id "$2" --config "$(broker_config "$1")" \
        --add-scram "SCRAM-SHA-256=[name=$kafka_user,password=$kafka_password]" \
        --add-scram "SCRAM-SHA-512=[name=$kafka_user,password=$kafka_password]"
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
