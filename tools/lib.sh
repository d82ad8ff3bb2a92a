# Shared by tools/dev, tools/test and tools/run: source it from the repository's root.

# Says a command and runs it.
say_run() {
  printf '+ %s\n' "$(printf '%q ' "$@")" >&2
  "$@"
}

die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# Installs the packages of tools/packages.txt that serve one of the given uses and are missing.
install_missing() {
  local uses=" $* " name use rest missing=()
  while read -r name rest; do
    case $name in '' | '#'*) continue ;; esac
    for use in $rest; do
      [[ $uses == *" $use "* ]] || continue
      [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
      break
    done
  done <tools/packages.txt
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || die "these Debian packages are missing, and there is no apt-get: ${missing[*]}"
  local root=()
  if [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null || die "these Debian packages are missing, and only root can install them. Run:
  sudo apt-get update && sudo apt-get install --no-install-recommends ${missing[*]}"
    root=(sudo)
  fi
  say_run "${root[@]}" apt-get update -qq || echo "apt-get update failed; trying with the lists that are here" >&2
  say_run "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 ||
    die "could not install: ${missing[*]}"
}

# Bazel with this repository's settings. RINGTAIL_BAZEL_STARTUP adds startup options (an --output_base, say).
bazel_run() {
  [ -n "${HOME:-}" ] || { HOME=$(getent passwd "$(id -u)" | cut -d: -f6) && export HOME; }
  # shellcheck disable=SC2086
  say_run bazel ${RINGTAIL_BAZEL_STARTUP:-} "$@"
}
