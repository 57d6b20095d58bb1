#!/bin/sh
# Reads secrets from the files that CUSTODY_<NAME>_FILE name, so that none stands in a compose file.
set -eu
if [ -n "${CUSTODY_MASTER_KEY_FILE:-}" ]; then
  CUSTODY_MASTER_KEY="$(cat "$CUSTODY_MASTER_KEY_FILE")"
  export CUSTODY_MASTER_KEY
fi
if [ -n "${CUSTODY_STORE_URL_FILE:-}" ]; then
  CUSTODY_STORE_URL="$(cat "$CUSTODY_STORE_URL_FILE")"
  export CUSTODY_STORE_URL
fi
unset CUSTODY_MASTER_KEY_FILE CUSTODY_STORE_URL_FILE
exec node /opt/custody/bin/custody.js "$@"
