# shellcheck shell=bash
# What the scripts for the tests' real services share. Meant to be sourced.
# shellcheck disable=SC2034 # Not every script uses all of it.

scripts_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
project_dir=$(dirname "$scripts_dir")

# Debian keeps sshd and useradd in folders that only root's PATH names.
PATH=$PATH:/usr/sbin:/sbin

cache_dir=${CDR_TEST_SERVICES:-$project_dir/target/test-services}
kafka_pom=$scripts_dir/kafka/pom.xml
python_requirements=$scripts_dir/requirements-tests.txt
venv_python=$cache_dir/venv/bin/python

# The pom is the one place that names Kafka's version.
kafka_version=$(sed -n 's:.*<kafka\.version>\(.*\)</kafka\.version>.*:\1:p' "$kafka_pom")
kafka_dir=$cache_dir/kafka-$kafka_version
kafka_classpath="$kafka_dir/libs/*"

# Other versions of its Java clients: the oldest and the newest that the embedded broker is tested with.
kafka_clients_pom=$scripts_dir/kafka/clients/pom.xml
kafka_clients_versions=(3.9.2 4.3.0)

# A module of clients in Go, which the tests build.
go_clients=$project_dir/crates/sandbox/tests/kafka_clients/go

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# Prints the comment block at the top of the calling script, which is its help.
print_help() {
    sed -n '3,/^$/ s/^# \{0,1\}//p' "$0"
}

# Runs a command as root: directly, or by sudo where nobody has to type a password.
as_root() {
    if ((EUID == 0)); then
        "$@"
    else
        sudo -n "$@"
    fi
}

can_be_root() {
    ((EUID == 0)) || sudo -n true 2>/dev/null
}

# An installation is complete when its stamp, which is written last, holds the
# checksum of the file that describes it.
is_installed() { # FOLDER DESCRIPTION
    [[ -f $1/.installed && $(<"$1/.installed") == "$(checksum "$2")" ]]
}

checksum() { # FILE
    sha256sum <"$1" | cut -d ' ' -f 1
}

require_kafka() {
    is_installed "$kafka_dir" "$kafka_pom" || die "Kafka $kafka_version is not installed in $kafka_dir; run scripts/install-test-services"
}

kafka_clients_dir() { # VERSION
    echo "$cache_dir/kafka-clients-$1"
}

require_kafka_clients() { # VERSION
    [[ " ${kafka_clients_versions[*]} " == *" $1 "* ]] || die "there are no clients of Kafka $1, only of ${kafka_clients_versions[*]}"
    is_installed "$(kafka_clients_dir "$1")" "$kafka_clients_pom" || die "the clients of Kafka $1 are not installed in $(kafka_clients_dir "$1"); run scripts/install-test-services"
}

require_venv() {
    is_installed "$cache_dir/venv" "$python_requirements" || die "the Python clients are not installed in $cache_dir/venv; run scripts/install-test-services"
}

# Becomes a Java virtual machine with Kafka's classes. Without its second
# compiler and its parallel garbage collector, the brokers start in half the
# time on two cores, and take in no fewer records in the minutes a test lasts.
exec_kafka_java() { # JAVA_OPTIONS... CLASS ARGUMENTS...
    exec "${JAVA_HOME:+$JAVA_HOME/bin/}java" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
        -Dlog4j2.configurationFile="$scripts_dir/kafka/log4j2.properties" \
        -cp "$kafka_classpath" "$@"
}
