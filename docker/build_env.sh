# shellcheck shell=sh
# Sourced by the RUN lines that use the network. Build secrets (a CA bundle, credentials for a package
# mirror) are files that exist only while such a line runs; they reach no layer.
APT_OPTIONS=
if [ -s /run/secrets/extra_ca ]; then
  export SSL_CERT_FILE=/run/secrets/extra_ca PIP_CERT=/run/secrets/extra_ca
  export REQUESTS_CA_BUNDLE=/run/secrets/extra_ca
  APT_OPTIONS="-o Acquire::https::CAInfo=/run/secrets/extra_ca"
fi
if [ -s /run/secrets/netrc ]; then
  export NETRC=/run/secrets/netrc
fi

# apt_install PACKAGE...: Debian packages, from DEBIAN_MIRROR where one is given
apt_install() {
  if [ -n "${DEBIAN_MIRROR:-}" ]; then
    find /etc/apt \( -name '*.list' -o -name '*.sources' \) -exec sed -i -E \
      -e "s#https?://[^ ]+/debian-security/?#${DEBIAN_MIRROR%/}-security#" \
      -e "s#https?://[^ ]+/debian/?( |\$)#${DEBIAN_MIRROR%/}\1#" {} +
  fi
  # shellcheck disable=SC2086 # the options are separate words
  apt-get $APT_OPTIONS update -q
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get $APT_OPTIONS install -y -q --no-install-recommends "$@"
  rm -rf /var/lib/apt/lists/* /var/cache/apt/* # Debian's own images keep the second empty, others do not
}
