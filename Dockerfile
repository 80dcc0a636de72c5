# syntax=docker/dockerfile:1

# Needs BuildKit, which is the default from Docker 23 on; before that, export DOCKER_BUILDKIT=1.

FROM rust:1.95-bookworm AS build

# librdkafka is compiled from source and linked against the system's OpenSSL and zlib.
# The base image happens to hold these; naming them keeps the build working on a slimmer one.
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ gcc libssl-dev make pkg-config zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY crates crates

# The caches keep downloaded and compiled dependencies between builds, so that a change in our
# own code recompiles only that. A cache is not part of the layer, hence the copy out of it.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked -p cdr \
    && cp target/release/cdr /usr/local/bin/cdr


FROM debian:bookworm-slim AS runtime

LABEL org.opencontainers.image.title="cdr" \
      org.opencontainers.image.description="Generates synthetic call detail records and delivers them over SFTP and Kafka, exactly once" \
      org.opencontainers.image.licenses="Apache-2.0"

RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 zlib1g \
    && rm -rf /var/lib/apt/lists/*

# A new named volume takes over the owner of the folder it covers, so the folder has to belong to
# the user before the volume is declared. The uid is fixed for those who mount a host folder.
RUN groupadd --gid 10001 cdr \
    && useradd --uid 10001 --gid cdr --home-dir /var/lib/cdr --no-create-home --shell /usr/sbin/nologin cdr \
    && install -d -o cdr -g cdr -m 0750 /var/lib/cdr

COPY LICENSE /usr/share/doc/cdr/LICENSE
COPY --from=build /usr/local/bin/cdr /usr/local/bin/cdr

# Here the program keeps idx_data.dat, its progress, and the keys of the servers it has met: both
# have to outlive the container.
WORKDIR /var/lib/cdr
VOLUME /var/lib/cdr
ENV SFTP_KNOWN_HOSTS=/var/lib/cdr/known_hosts

# The instruction below picks the account and sets no variable of that name. Keep it so: a USER
# variable in the environment would make the program choose the dev defaults.
USER cdr

# On SIGTERM the program commits or aborts its open transaction before it ends.
STOPSIGNAL SIGTERM
ENTRYPOINT ["cdr"]
CMD ["run"]
