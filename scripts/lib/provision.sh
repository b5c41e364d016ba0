# Sourced by scripts/quickstart: makes what is missing under DATA, and starts and stops the daemon.
# Expects ROOT, DATA, PORT and the functions of setup.sh.

SERVER=
PEOPLE=(admin-1 admin-2 manager officer-1 officer-2 owner mailer auditor)
DEPOSITARIES=(manager officer-1 officer-2)

escrowctl() { "$ROOT/scripts/escrowctl" "$@"; }
ceremony() { "$ROOT/scripts/ceremony" "$@"; }

provision() {
  SERVER=https://127.0.0.1:$PORT
  umask 077
  mkdir -p "$DATA"
  chmod 0700 "$DATA"
  DATA=$(cd "$DATA" && pwd)
  mkdir -p "$DATA"/{tls,token/tokens,pins,ceremony,people}
  make_tls
  make_pins
  make_token
  make_people
  make_configuration
  enrol_depositaries
  pin_server
}

# A private CA, and a certificate by it for 127.0.0.1 and localhost.
make_tls() {
  local tls=$DATA/tls
  [ -f "$tls/server.crt" ] && return 0
  say "making a private CA and the server's certificate in $tls"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=escrowd quickstart CA" \
    -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign \
    -keyout "$tls/ca.key" -out "$tls/ca.crt" 2>/dev/null
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=escrowd" \
    -keyout "$tls/server.key" -out "$tls/server.csr" 2>/dev/null
  printf '%s\n' 'basicConstraints=critical,CA:FALSE' 'keyUsage=critical,digitalSignature' 'extendedKeyUsage=serverAuth' \
    'subjectAltName=IP:127.0.0.1,DNS:localhost' >"$tls/server.ext"
  openssl x509 -req -in "$tls/server.csr" -CA "$tls/ca.crt" -CAkey "$tls/ca.key" -CAcreateserial -days 825 \
    -extfile "$tls/server.ext" -out "$tls/server.crt.new" 2>/dev/null
  rm -f "$tls/server.csr" "$tls/server.ext"
  mv "$tls/server.crt.new" "$tls/server.crt"
}

# Two PINs, in two files: in earnest they are in two people's hands.
make_pins() {
  local role
  for role in so user; do
    [ -f "$DATA/pins/$role.pin" ] || openssl rand -hex 16 >"$DATA/pins/$role.pin"
  done
}

make_token() {
  local token=$DATA/token
  if [ ! -f "$token/softhsm2.conf" ]; then
    printf '%s\n' "directories.tokendir = $token/tokens" 'objectstore.backend = file' 'log.level = ERROR' \
      'slots.removable = false' >"$token/softhsm2.conf"
  fi
  [ -f "$DATA/ceremony/record.json" ] && return 0
  say "ceremony: preparing the token (its record is $DATA/ceremony/record.json)"
  ceremony init --profile softhsm-2.6 --label escrowd --token-conf "$token/softhsm2.conf" \
    --so-pin-file "$DATA/pins/so.pin" --user-pin-file "$DATA/pins/user.pin" --record "$DATA/ceremony/record.json" \
    >"$DATA/ceremony/init.txt"
}

make_people() {
  local id options
  for id in "${PEOPLE[@]}"; do
    [ -f "$DATA/people/$id/public.json" ] && continue
    say "making the keys of $id"
    options=()
    if is_depositary "$id"; then options+=(--depositary); fi
    escrowctl identity new "$DATA/people/$id" --id "$id" "${options[@]}" >/dev/null
  done
}

is_depositary() {
  local id
  for id in "${DEPOSITARIES[@]}"; do [ "$id" = "$1" ] && return 0; done
  return 1
}

# The daemon's configuration, its first administrators, and the directory and rules for them to sign.
make_configuration() {
  if [ ! -f "$DATA/administrators.json" ]; then
    node -e '
      const fs = require("node:fs");
      const [out, ...files] = process.argv.slice(1);
      fs.writeFileSync(out, JSON.stringify(files.map((file) => JSON.parse(fs.readFileSync(file, "utf8"))), null, 2) + "\n");
    ' "$DATA/administrators.json" "$DATA/people/admin-1/public.json" "$DATA/people/admin-2/public.json"
  fi
  # a record from before check values were recorded pins nothing
  local record=""
  grep -q '"checkValue"' "$DATA/ceremony/record.json" && record="record: ceremony/record.json"
  cat >"$DATA/escrowd.yaml.new" <<TEXT
# Paths are relative to this file.
origin: escrowd.quickstart
listen: { host: 127.0.0.1, port: $PORT }
management: { host: 127.0.0.1, port: $((PORT + 1)) }
tls: { certificate: tls/server.crt, key: tls/server.key }
token:
  profile: softhsm-2.6
  label: escrowd
  pinFile: pins/user.pin
  $record
  environment: { SOFTHSM2_CONF: ./token/softhsm2.conf }
administrators: administrators.json
database: { directory: postgres }
TEXT
  # only the ports can differ between runs
  mv "$DATA/escrowd.yaml.new" "$DATA/escrowd.yaml"
  [ -f "$DATA/escrow.yaml" ] && return 0
  printf '# yaml-language-server: $schema=%s\n' "$ROOT/docs/escrow.schema.json" >"$DATA/escrow.yaml.new"
  cat >>"$DATA/escrow.yaml.new" <<'TEXT'
# Directory and rules. Two administrators sign what it changes; see: escrowctl plan --help, docs/policy.md
version: 1
principals:
  - { id: admin-1, kind: person, name: First administrator, roles: [admin], keysFrom: people/admin-1/public.json }
  - { id: admin-2, kind: person, name: Second administrator, roles: [admin], keysFrom: people/admin-2/public.json }
  - { id: manager, kind: person, name: The owner's manager, roles: [depositary], keysFrom: people/manager/public.json }
  - { id: officer-1, kind: person, name: First security officer, roles: [depositary, security-officer], keysFrom: people/officer-1/public.json }
  - { id: officer-2, kind: person, name: Second security officer, roles: [depositary, security-officer], keysFrom: people/officer-2/public.json }
  - id: owner
    kind: person
    name: The owner
    roles: [owner]
    attributes: { department: finance, manager: manager }
    keysFrom: people/owner/public.json
  - { id: mailer, kind: app, name: The mail gateway, roles: [app], keysFrom: people/mailer/public.json }
  - { id: auditor, kind: person, name: The auditor, roles: [auditor], keysFrom: people/auditor/public.json }
rules:
  # Signing keys never leave the token. Two of the owner's manager and the security officers let an app use them.
  - name: signing-never-leaves
    when: { use: sign }
    depositaries: { atLeast: 2, of: [manager, role:security-officer] }
    operate: { operations: [sign], maxUses: 100, maxDuration: PT24H }
  # Decryption keys of finance may also be handed to a depositary. The owner may veto that.
  - name: finance-decryption
    when: { use: decrypt, owner.department: finance }
    depositaries: { atLeast: 2, of: [manager, role:security-officer] }
    operate: { operations: [decrypt], maxUses: 1000, maxDuration: P7D }
    release: { delay: PT0S, ownerMayVeto: true }
TEXT
  mv "$DATA/escrow.yaml.new" "$DATA/escrow.yaml"
}

# Each depositary proves to hold the private key; then the security officer makes its public key trusted in the token.
enrol_depositaries() {
  local id work=$DATA/ceremony
  for id in "${DEPOSITARIES[@]}"; do
    [ -f "$work/$id.enrolled" ] && continue
    say "ceremony: enrolling the depositary $id"
    ceremony challenge "$id" --public-key "$DATA/people/$id/depositary-public.pem" --out "$work/$id.challenge.json" >/dev/null
    escrowctl depositary answer "$work/$id.challenge.json" --as "$DATA/people/$id" --out "$work/$id.answer.json" >/dev/null
    ceremony enrol "$id" --profile softhsm-2.6 --label escrowd --token-conf "$DATA/token/softhsm2.conf" \
      --challenge "$work/$id.challenge.json" --answer "$work/$id.answer.json" \
      --so-pin-file "$DATA/pins/so.pin" --user-pin-file "$DATA/pins/user.pin" --record "$work/record.json" \
      >"$work/$id.txt"
    mv "$work/$id.txt" "$work/$id.enrolled"
  done
}

# Everyone pins the server's keys from the ceremony's record, not from what the server says.
pin_server() {
  local id
  for id in "${PEOPLE[@]}"; do
    escrowctl identity pin "$DATA/people/$id" --server "$SERVER" --ca "$DATA/tls/ca.crt" --origin escrowd.quickstart \
      --record "$DATA/ceremony/record.json" >/dev/null
  done
}

daemon_pid() {
  local pid
  pid=$(cat "$DATA/escrowd.pid" 2>/dev/null) || return 1
  [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q 'dist/main.js' &&
    printf '%s' "$pid"
}

start_daemon() {
  local pid waited=0
  if pid=$(daemon_pid); then
    say "stopping the daemon of an earlier run (process $pid)"
    stop_daemon
  fi
  say "starting escrowd on $SERVER (its log is $DATA/escrowd.log)"
  setsid "$ROOT/scripts/escrowd" --config "$DATA/escrowd.yaml" >>"$DATA/escrowd.log" 2>&1 </dev/null &
  pid=$!
  printf '%s\n' "$pid" >"$DATA/escrowd.pid"
  until escrowctl status --as "$DATA/people/auditor" >/dev/null 2>&1; do
    kill -0 "$pid" 2>/dev/null || { tail -n 3 "$DATA/escrowd.log" >&2; fail "escrowd did not start"; }
    waited=$((waited + 1))
    [ "$waited" -lt 120 ] || fail "escrowd is not ready after 60 seconds; see $DATA/escrowd.log"
    sleep 0.5
  done
}

# Asks the daemon to stop and waits until it has.
stop_daemon() {
  local pid waited=0
  pid=$(daemon_pid) || return 0
  kill -TERM "$pid"
  while kill -0 "$pid" 2>/dev/null; do
    waited=$((waited + 1))
    [ "$waited" -lt 150 ] || fail "escrowd (process $pid) does not stop"
    sleep 0.2
  done
  rm -f "$DATA/escrowd.pid"
}
