# Sourced by scripts/quickstart: the life of a key, played against the running daemon as people would type it.
# Expects ROOT, DATA, SERVER and the functions of setup.sh and provision.sh.

STEPS=  # a file: one step a line, tab-separated: name, expected, ok, ms
FAILED=0
OUT=
CODE=0

now_ms() {
  local t=${EPOCHREALTIME:-}
  if [ -n "$t" ]; then printf '%s' "${t%[.,]*}${t#*[.,]}" | sed 's/...$//'; else printf '%s000' "$(date +%s)"; fi
}

# step NAME EXPECTED FUNCTION: runs the function, which shows what it does and returns 0 when all went as expected.
step() {
  local name=$1 expected=$2 started ended ok=true
  printf '\n== %s\n' "$name"
  started=$(now_ms)
  "$3" || ok=false
  ended=$(now_ms)
  printf '%s\t%s\t%s\t%s\n' "$name" "$expected" "$ok" "$((ended - started))" >>"$STEPS"
  if [ "$ok" = true ]; then
    printf '   as it should be: %s\n' "$expected"
  else
    FAILED=$((FAILED + 1))
    printf '   NOT as it should be. Expected: %s\n' "$expected"
  fi
}

# show COMMAND...: prints the command as a person would type it, runs it, prints its result; sets OUT and CODE.
show() {
  local word line='   $'
  for word in "$@"; do
    case "$word" in *[!A-Za-z0-9_./:=,@%+-]*) line+=" '${word//\'/\'\\\'\'}'" ;; *) line+=" $word" ;; esac
  done
  printf '%s\n' "${line//$DATA\//}"
  CODE=0
  OUT=$(cd "$DATA" && "${@//$DATA\//}" 2>&1) || CODE=$?
  [ -z "$OUT" ] || printf '%s\n' "$OUT" | sed 's/^/     /'
}

# refused CODE: the last command was refused by the server (exit code 3) with this error code.
refused() { [ "$CODE" -eq 3 ] && printf '%s' "$OUT" | grep -q -- "$1"; }
# the first id of this kind in the last output
id_of() { printf '%s' "$OUT" | grep -o "$1_[0-9a-f]\{32\}" | head -n 1; }

play_story() {
  STEPS=$(mktemp)
  rm -rf "$DATA/story"
  mkdir -p "$DATA/story"
  printf 'Pay 100 to the bearer.\n' >"$DATA/story/letter.txt"
  say ""
  say "The life of a key. Commands run in $DATA."

  step 'two administrators put the rules in force' 'both signatures are checked; the policy is in force' apply_policy
  step 'who would be chosen' 'two of manager, officer-1, officer-2' test_rules
  step 'a signing key is generated for the owner' 'generated and deposited in one act' generate_signing_key
  step 'an outsider asks for the key' 'refused: forbidden' outsider_asks
  step 'a depositary files a recovery request' 'pending: app mailer, 3 uses, 1 hour' request_operation
  step 'one depositary approves' 'approved by one; still pending' first_approval
  step 'a single depositary tries alone' 'refused: quorum-incomplete' alone
  step 'a second depositary approves' 'the quorum is complete; the app has a grant' second_approval
  step 'the app signs a file, openssl verifies it' 'the signature verifies with the owner'"'"'s public key' sign_first
  step 'the app signs over the plain HTTP API' 'the signature verifies with the owner'"'"'s public key' sign_over_http
  step 'the third use' 'the signature verifies with the owner'"'"'s public key' sign_third
  step 'the fourth use' 'refused: grant-exhausted' sign_fourth
  step 'a grant is revoked' 'the next use is refused: grant-revoked' revoke_grant
  step 'a decryption key is released to a depositary' 'opened with openssl; its public key is the owner'"'"'s' release_key
  step 'the owner reads the history' 'everything is there, the refusals included' read_history
  step 'the auditor exports and verifies the log' 'the export can be believed' verify_log
  step 'one byte of the export is changed' 'verification fails with exit code 5' tamper_log

  node -e '
    const fs = require("node:fs");
    const steps = fs.readFileSync(process.argv[1], "utf8").trimEnd().split("\n").map((line) => {
      const [name, expected, ok, ms] = line.split("\t");
      return { name, expected, ok: ok === "true", ms: Number(ms) };
    });
    fs.writeFileSync(process.argv[2], JSON.stringify(steps, null, 2) + "\n");
  ' "$STEPS" "$DATA/story.json"
  rm -f "$STEPS"
}

story_verdict() {
  if [ "$FAILED" -eq 0 ]; then
    say ""
    say "Every step did what it should ($DATA/story.json)."
  else
    fail "$FAILED step(s) did not do what they should; see above and $DATA/story.json"
  fi
}

apply_policy() {
  if escrowctl policy show --as "$DATA/people/auditor" --json 2>/dev/null | grep -q '"version": *[1-9]'; then
    show escrowctl policy show --as people/auditor
    [ "$CODE" -eq 0 ]
    return
  fi
  show escrowctl plan -f escrow.yaml --as people/admin-1 --sign story/admin-1.jws --yes && [ "$CODE" -eq 0 ] || return 1
  show escrowctl plan -f escrow.yaml --as people/admin-2 --sign story/admin-2.jws --yes && [ "$CODE" -eq 0 ] || return 1
  show escrowctl apply -f escrow.yaml --as people/admin-1 --signature story/admin-1.jws --signature story/admin-2.jws
  [ "$CODE" -eq 0 ]
}

test_rules() {
  show escrowctl rules test --as people/admin-1 --owner owner --use sign --spec ec-p256
  [ "$CODE" -eq 0 ] && printf '%s' "$OUT" | grep -q officer-2
}

generate_signing_key() {
  show escrowctl key generate --as people/admin-1 --owner owner --spec ec-p256 --use sign --label letters
  [ "$CODE" -eq 0 ] || return 1
  KEY=$(id_of key)
  show escrowctl key show "$KEY" --as people/owner --public-key-out story/owner-public.pem
  [ "$CODE" -eq 0 ] && [ -s "$DATA/story/owner-public.pem" ]
}

# request_use AS USES: files a request for the app to sign with KEY; sets RECOVERY.
request_use() {
  show escrowctl recovery request "$KEY" --as "people/$1" --purpose operate --app mailer --operation sign \
    --mechanism ES256 --uses "$2" --for 1h --valid-for 1d --reason 'the owner is away'
  RECOVERY=$(id_of rec)
}

outsider_asks() {
  request_use auditor 3
  refused forbidden
}

request_operation() {
  request_use manager 3
  [ "$CODE" -eq 0 ] && [ -n "$RECOVERY" ]
}

approve() {
  show escrowctl recovery approve "$RECOVERY" --as "people/$1" --yes
  [ "$CODE" -eq 0 ]
}

first_approval() {
  approve manager && printf '%s' "$OUT" | grep -q pending
}

alone() {
  show escrowctl recovery activate "$RECOVERY" --as people/manager
  refused quorum-incomplete
}

second_approval() {
  approve officer-1 || return 1
  GRANT=$(id_of grant)
  [ -n "$GRANT" ]
}

sign_letter() {
  rm -f "$DATA/story/$1"
  show escrowctl sign story/letter.txt --as people/mailer --grant "$GRANT" --mechanism ES256 --format der --out "story/$1"
}

verify_letter() {
  show openssl dgst -sha256 -verify story/owner-public.pem -signature "story/$1" story/letter.txt
  [ "$CODE" -eq 0 ]
}

sign_first() { sign_letter first.sig && [ "$CODE" -eq 0 ] && verify_letter first.sig; }
sign_third() { sign_letter third.sig && [ "$CODE" -eq 0 ] && verify_letter third.sig; }

sign_over_http() {
  show node "$ROOT/docs/examples/sign-over-http.mjs" people/mailer "$GRANT" story/letter.txt story/second.sig
  [ "$CODE" -eq 0 ] && verify_letter second.sig
}

sign_fourth() {
  sign_letter fourth.sig
  refused grant-exhausted && [ ! -e "$DATA/story/fourth.sig" ]
}

revoke_grant() {
  request_use officer-2 10 && [ "$CODE" -eq 0 ] || return 1
  approve officer-2 || return 1
  approve manager || return 1
  GRANT=$(id_of grant)
  sign_letter before.sig && [ "$CODE" -eq 0 ] || return 1
  show escrowctl grant revoke "$GRANT" --as people/owner --reason 'back at work'
  [ "$CODE" -eq 0 ] || return 1
  sign_letter after.sig
  refused grant-revoked
}

release_key() {
  show escrowctl key generate --as people/owner --owner owner --spec rsa-2048 --use decrypt --label archive
  [ "$CODE" -eq 0 ] || return 1
  KEY=$(id_of key)
  show escrowctl key show "$KEY" --as people/owner --public-key-out story/archive-public.pem
  show escrowctl recovery request "$KEY" --as people/officer-1 --purpose release --valid-for 1d --reason 'the archive must be read'
  [ "$CODE" -eq 0 ] || return 1
  RECOVERY=$(id_of rec)
  approve officer-1 || return 1
  approve officer-2 || return 1
  rm -f "$DATA"/story/archive.transfer "$DATA"/story/archive.wrapped
  show escrowctl recovery release "$RECOVERY" --as people/officer-1 --no-open --sealed-out story/archive
  [ "$CODE" -eq 0 ] || return 1
  # X, with the depositary's own private key; then the key itself under X (RFC 5649)
  show openssl pkeyutl -decrypt -inkey people/officer-1/depositary-key.pem -in story/archive.transfer \
    -out story/x.bin -pkeyopt rsa_padding_mode:oaep
  [ "$CODE" -eq 0 ] || return 1
  show bash -c 'openssl enc -d -id-aes256-wrap-pad -iv A65959A6 -K "$(od -An -v -tx1 story/x.bin | tr -d " \n")" -in story/archive.wrapped -out story/archive.der'
  [ "$CODE" -eq 0 ] || return 1
  show openssl pkey -inform DER -in story/archive.der -pubout -out story/archive-opened.pem
  rm -f "$DATA/story/x.bin" "$DATA/story/archive.der"
  show cmp story/archive-opened.pem story/archive-public.pem
  [ "$CODE" -eq 0 ]
}

read_history() {
  show escrowctl history --as people/owner
  [ "$CODE" -eq 0 ] || return 1
  local word
  for word in key.generate recovery.request recovery.approve recovery.activate grant.sign grant.revoke recovery.release \
    forbidden quorum-incomplete grant-exhausted grant-revoked; do
    printf '%s' "$OUT" | grep -q -- "$word" || { say "     missing: $word"; return 1; }
  done
}

verify_log() {
  rm -f "$DATA/story/log.ndjson"
  show escrowctl log export story/log.ndjson --as people/auditor
  [ "$CODE" -eq 0 ] || return 1
  show escrowctl log verify story/log.ndjson --as people/auditor --administrators administrators.json
  [ "$CODE" -eq 0 ]
}

tamper_log() {
  cp "$DATA/story/log.ndjson" "$DATA/story/tampered.ndjson"
  show sed -i.bak 's/the owner is away/the owner is aware/' story/tampered.ndjson
  cmp -s "$DATA/story/log.ndjson" "$DATA/story/tampered.ndjson" && return 1
  show escrowctl log verify story/tampered.ndjson --as people/auditor --administrators administrators.json
  [ "$CODE" -eq 5 ]
}

what_next() {
  cat <<TEXT

escrowd is running on $SERVER (process $(cat "$DATA/escrowd.pid")). What to try next:

  cd $DATA
  export PATH="$ROOT/scripts:\$PATH"
  escrowctl key list --as people/owner
  escrowctl recovery list --as people/manager
  escrowctl history --as people/owner
  escrowctl --help

  kill $(cat "$DATA/escrowd.pid")            # stop the daemon
  $ROOT/scripts/quickstart --data $DATA --port $PORT   # start it again, and play the story again
TEXT
}
