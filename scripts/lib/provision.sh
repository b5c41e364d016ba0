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
  make_people
  make_installation
  make_pins
  make_token
  enrol_depositaries
  pin_server
}

# Two PINs, in two files: in earnest they are in two people's hands.
make_pins() {
  local role
  for role in so user; do
    [ -f "$DATA/pins/$role.pin" ] || openssl rand -hex 16 >"$DATA/pins/$role.pin"
  done
}

make_token() {
  [ -f "$DATA/ceremony/record.json" ] && return 0
  say "ceremony: preparing the token (its record is $DATA/ceremony/record.json)"
  ceremony init --profile softhsm-2.6 --label escrowd --token-conf "$DATA/token/softhsm2.conf" \
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

# What escrowd init makes, and the directory and rules of docs/examples for the administrators to sign.
make_installation() {
  if [ ! -f "$DATA/escrowd.yaml" ]; then
    say "making configuration, TLS certificate and administrators (escrowd init $DATA)"
    "$ROOT/scripts/escrowd" init "$DATA" --origin escrowd.quickstart --listen "127.0.0.1:$PORT" \
      --management "127.0.0.1:$((PORT + 1))" --softhsm --user "$(id -un)" --no-systemd --no-policy --json \
      --administrator "$DATA/people/admin-1/public.json" --administrator "$DATA/people/admin-2/public.json" >/dev/null
  fi
  # between runs only the ports can differ
  sed -e "s/^listen: .*/listen: { host: 127.0.0.1, port: $PORT }/" \
    -e "s/^management: .*/management: { host: 127.0.0.1, port: $((PORT + 1)) }/" "$DATA/escrowd.yaml" >"$DATA/escrowd.yaml.new"
  mv "$DATA/escrowd.yaml.new" "$DATA/escrowd.yaml"
  [ -f "$DATA/escrow.yaml" ] && return 0
  sed "1s|\$schema=.*|\$schema=$ROOT/docs/escrow.schema.json|" "$ROOT/docs/examples/escrow.yaml" >"$DATA/escrow.yaml.new"
  mv "$DATA/escrow.yaml.new" "$DATA/escrow.yaml"
}

# Each depositary proves to hold the private key; then the security officer makes its public key trusted in the token.
enrol_depositaries() {
  local id work=$DATA/ceremony
  for id in "${DEPOSITARIES[@]}"; do
    [ -f "$work/$id.enrolled" ] && continue
    say "ceremony: enrolling the depositary $id"
    ceremony challenge "$id" --public-key "$DATA/people/$id/depositary-public.pem" --out "$work/$id.challenge.json" >/dev/null
    escrowctl depositary answer "$work/$id.challenge.json" --as "$DATA/people/$id" --out "$work/$id.answer.json" --force >/dev/null
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
