#!/usr/bin/env bash
# The first quarter of an hour of somebody who has the README and nothing else, timed: a fresh clone,
# the demo, a configuration of their own, a first request, a leaver, the report. Ends with 0 when each
# step does what the README says. Usage: scripts/newcomer.sh [directory]
set -euo pipefail
# Each job in a group of its own: Ctrl-C of a terminal reaches all of it, and so does ours.
set -m
from=$(cd "$(dirname "$0")/.." && pwd)
at=${1:-$(mktemp -d)}
began=$(date +%s%N)
step() {
  local now
  now=$(date +%s%N)
  printf '%6.1f s  %s\n' "$(((now - began) / 100000000))e-1" "$1"
}

git clone -q "$from" "$at/custody"
cd "$at/custody"
step 'cloned'
npm ci >/dev/null 2>&1
step 'npm ci'

CUSTODY_LISTEN=127.0.0.1:0 npm run -s demo -- --keep >"$at/demo.log" 2>&1 &
demo=$!
until grep -q 'log in' "$at/demo.log"; do sleep 0.1; done
link=$(grep -o 'http://[^ ]*#login=[^ ]*' "$at/demo.log")
step 'npm run demo -- --keep: the console can be opened'
code=${link##*#login=}
curl -sf -X POST "${link%%/console*}/api/v1/session" -H 'content-type: application/json' \
  -d "{\"code\":\"$code\"}" | grep -q '"role":"admin"'
step 'the link logs in'
kill -INT -- -$demo
wait $demo || true
step 'Ctrl-C'

npm run -s custody -- init --yes --set listen=127.0.0.1:8431 2>/dev/null >/dev/null
npm run -s custody -- policy check >/dev/null 2>&1
npm start >"$at/serve.log" 2>&1 &
server=$!
trap 'kill -- -$server 2>/dev/null || true' EXIT
until grep -q '^listening' "$at/serve.log"; do sleep 0.1; done
step 'a configuration of our own, served'

T=$(cat .custody/admin-token)
SCIM=http://127.0.0.1:8431/scim/v2
scim() { curl -sf -H "Authorization: Bearer $T" -H 'Content-Type: application/scim+json' "$@"; }
owner=$(scim $SCIM/Users -d '{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"ada@example.com","displayName":"Ada"}' |
  grep -o '"id":"[^"]*"' | head -1 | cut -d'"' -f4)
scim $SCIM/Users -d '{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User","urn:custody:scim:schemas:extension:nhi:1.0:User"],
  "userName":"ci-build","urn:custody:scim:schemas:extension:nhi:1.0:User":{"kind":"serviceAccount","purpose":"builds the website",
  "owner":{"value":"'"$owner"'"},"credentials":[{"provider":"tokens","kind":"api-token","scopes":["build:read"],"deliverTo":"files:ci/token"}]}}' >/dev/null
until [ -f secrets/default/ci/token ]; do sleep 0.05; done
token=$(cat secrets/default/ci/token)
introspect() { curl -sf -H "Authorization: Bearer $T" http://127.0.0.1:8431/oauth2/introspect -d "token=$token"; }
introspect | grep -q '"active":true'
step 'a first account: its token is delivered and good'

npm run -s custody -- owner impact ada@example.com >"$at/impact.txt"
npm run -s custody -- owner leave ada@example.com --yes >/dev/null 2>&1
until introspect | grep -q '"active":false'; do sleep 0.05; done
step 'its owner leaves: the token is refused'
until curl -sf -H "Authorization: Bearer $T" "http://127.0.0.1:8431/api/v1/reports/offboarding/$owner" |
  grep -q '"verdict":"complete"'; do sleep 0.1; done
step 'the report says: complete'
npm run -s custody -- audit verify >/dev/null 2>&1
step 'the audit log is verified'
