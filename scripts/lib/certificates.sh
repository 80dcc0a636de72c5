# shellcheck shell=bash
# Certificates of the services in $dir, in $dir/tls.
# shellcheck disable=SC2154 # The script that sources this sets dir.

# An authority of the tests' own, and what it signs for servers and for a client.
make_certificates() {
    mkdir "$dir/tls"
    (
        cd "$dir/tls"
        openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=cdr-tests -keyout ca.key -out ca.pem
        sign_certificate broker subjectAltName=IP:127.0.0.1,DNS:localhost
        sign_certificate client extendedKeyUsage=clientAuth
        cat broker.key broker.crt >broker.pem
    ) 2>"$dir/tls/openssl.log" || die "could not make certificates: $(<"$dir/tls/openssl.log")"
}

sign_certificate() { # NAME EXTENSION
    openssl req -newkey rsa:2048 -nodes -subj "/CN=cdr-$1" -keyout "$1.key" -out "$1.csr"
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 \
        -extfile <(echo "$2") -out "$1.crt"
}
