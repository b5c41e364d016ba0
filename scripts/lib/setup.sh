# Sourced by the scripts beside it: what a machine needs before escrowd can be built. Says what it installs.
# Expects ROOT, the directory of the project.

say() { printf '%s\n' "$*"; }
fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

require_node() {
  command -v node >/dev/null 2>&1 || fail "Node.js 20.19 or newer is needed; see https://nodejs.org/en/download"
  # as engines in package.json has it
  node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' ||
    fail "Node.js 20.19 or newer is needed; this is $(node --version)"
  command -v npm >/dev/null 2>&1 || fail "npm is needed beside Node.js"
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# require_own_place DIR: what lies below DIR is not believed where others can write a directory above it, unless that is sticky.
require_own_place() {
  local at=$1 open=""
  while [ "$at" != / ]; do
    if [ -d "$at" ]; then
      [ -z "$(find "$at" -maxdepth 0 \( -perm -020 -o -perm -002 \) ! -perm -1000)" ] || open+=" $at"
    fi
    at=$(dirname "$at")
  done
  [ -z "$open" ] || fail "others than their owner can write$open: keys and pins below could be exchanged. See who has, then: chmod go-w$open (or take another place: --data DIR)"
}

# require_packages PACKAGE...: installs those Debian packages that are missing; elsewhere says what is needed.
require_packages() {
  local missing=() package
  if ! command -v apt-get >/dev/null 2>&1; then
    local needed=0
    for tool in softhsm2-util openssl python3 make c++; do
      command -v "$tool" >/dev/null 2>&1 || { say "missing: $tool"; needed=1; }
    done
    [ "$needed" -eq 0 ] && return 0
    fail "this script installs packages only on Debian and its relatives. Install SoftHSM 2.6 or newer, OpenSSL 3, Python 3, make and a C++ compiler (macOS: brew install softhsm openssl@3 && xcode-select --install; Fedora: dnf install softhsm openssl python3 make gcc-c++), then run it again"
  fi
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  [ "${#missing[@]}" -eq 0 ] && return 0
  if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null 2>&1; then
    fail "these packages are missing, and there is no sudo to install them: ${missing[*]}"
  fi
  say "installing ${missing[*]} (apt)"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# require_promtool: promtool of Prometheus in PROMTOOL, where the tests look for it. Of Debian's package, which brings a server, that one
# file is taken (19 MB to fetch), and nothing is installed. Elsewhere the tests take one that is on the PATH, or do without.
PROMTOOL=$ROOT/node_modules/.cache/promtool
require_promtool() {
  ! command -v promtool >/dev/null 2>&1 && [ ! -x "$PROMTOOL" ] && command -v apt-get >/dev/null 2>&1 || return 0
  local fetched
  fetched=$(mktemp -d)
  say "fetching promtool (apt)"
  if (cd "$fetched" && apt-get download -qq prometheus >/dev/null 2>&1); then
    mkdir -p "$(dirname "$PROMTOOL")"
    dpkg-deb --fsys-tarfile "$fetched"/prometheus_*.deb | tar -x -C "$fetched" ./usr/bin/promtool
    mv "$fetched/usr/bin/promtool" "$PROMTOOL"
  else
    say "promtool could not be fetched: the alert rules are tested without it"
  fi
  rm -rf "$fetched"
}

# As root the database runs as a user of its own: PostgreSQL refuses to run as root.
require_database_user() {
  [ "$(id -u)" -eq 0 ] || return 0
  id escrowd >/dev/null 2>&1 && return 0
  command -v useradd >/dev/null 2>&1 || return 0
  say "making the system user escrowd, which runs the private database"
  useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin escrowd
}

# Installs the locked dependencies when they are not there, or older than the lock file.
require_dependencies() {
  if [ -f "$ROOT/node_modules/.package-lock.json" ] &&
    [ ! "$ROOT/package-lock.json" -nt "$ROOT/node_modules/.package-lock.json" ]; then
    return 0
  fi
  [ ! -L "$ROOT/node_modules" ] || fail "$ROOT/node_modules is a link, and npm would empty what it leads to: install there (npm ci), or take the link away"
  say "installing dependencies (npm ci)"
  # headers that came with Node spare node-gyp a download
  local prefix
  prefix=$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")
  if [ -f "$prefix/include/node/node_api.h" ]; then export npm_config_nodedir="$prefix"; fi
  (cd "$ROOT" && npm ci --no-audit --no-fund --loglevel=error)
  touch "$ROOT/node_modules/.package-lock.json"
}

# Compiles src to dist when a source is newer than the last build.
require_build() {
  local stamp="$ROOT/dist/.built"
  if [ -f "$stamp" ] && [ -z "$(find "$ROOT/src" "$ROOT/package-lock.json" "$ROOT"/tsconfig*.json -newer "$stamp" -print -quit)" ]; then
    return 0
  fi
  say "building (npm run build)"
  rm -rf "$ROOT/dist"
  (cd "$ROOT" && npm run --silent build)
  touch "$stamp"
}
