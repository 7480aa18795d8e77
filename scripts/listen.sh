# Sourced by what serves a page: natively and with the host's network it is reached on 127.0.0.1 only; in a
# container with a network of its own it listens inside, and compose publishes the port on 127.0.0.1.
# shellcheck shell=bash disable=SC2034
address=127.0.0.1
listen=$PORT
if [ "${NETWORK_MODE:-none}" = bridge ]; then
  address=0.0.0.0
  listen=8888
fi
