# Shared by the scripts of this folder; sourced, not run.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
STATE=$ROOT/.dev

say() { printf '== %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# retry N COMMAND…: again with growing pauses, for downloads.
retry() {
  local tries=$1 pause=2 i
  shift
  for ((i = 1; i <= tries; ++i)); do
    "$@" && return 0
    ((i < tries)) || break
    say "failed, again in ${pause}s: $*"
    sleep "$pause"
    pause=$((pause * 2))
  done
  return 1
}

# The text after the first line of the calling script, up to the first line that is not a comment.
usage() { sed -n '2,/^[^#]/{s/^# \{0,1\}//;/^[^#]*$/p}' "$0" | sed '/^set -/,$d;/^\. /,$d'; }

# Is process $1 alive, ours and not a zombie? $2: a word that its command line must contain.
alive() {
  [[ -n ${1:-} && -r /proc/$1/stat ]] || return 1
  [[ $(sed 's/.*) //' "/proc/$1/stat" | cut -c1) != Z ]] || return 1
  tr '\0' ' ' < "/proc/$1/cmdline" | grep -qF -- "$2"
}

# end PID WORD: TERM, then KILL after ten seconds.
end() {
  alive "$1" "$2" || return 0
  kill -TERM "$1" 2> /dev/null || true
  local i
  for ((i = 0; i < 100; ++i)); do
    alive "$1" "$2" || return 0
    sleep 0.1
  done
  kill -KILL "$1" 2> /dev/null || true
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
