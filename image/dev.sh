#!/bin/bash
# Make this machine able to build and test Trivet: Debian packages, then build/venv and build/imageio. Idempotent; at once when nothing changed.
#
# A shell script, because on a fresh Debian there may be no Python yet. The stamp is a hash of everything that decides
# the result, so a changed dependency list is noticed and an unchanged one costs nothing.
# Where packages come from is the machine's own affair: its apt and pip configuration.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=/usr/bin/python3
VENV=build/venv
STAMP=$VENV/.made-from
PACKAGES_FILE=image/host_packages.txt
LOCK=requirements.lock
ANSIBLE=12.3.0   # the bundle whose ovirt.ovirt collection the tests run; of its 100 collections only that one is unpacked
COLLECTIONS=build/ansible

say() { printf 'dev: %s\n' "$*"; }
die() { printf 'dev: %s\n' "$*" >&2; exit 2; }

wanted_packages() { sed -e 's/#.*//' -e 's/[[:space:]]//g' -e '/^$/d' "$PACKAGES_FILE"; }

missing_packages() {
    wanted_packages | while read -r package; do
        state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
        [ "$state" = installed ] || echo "$package"
    done
}

fingerprint() { { cat pyproject.toml "$PACKAGES_FILE" "$LOCK" image/dev.sh; "$PYTHON" -V; } 2>/dev/null | sha256sum | cut -d' ' -f1; }

install_packages() {
    local missing=()
    mapfile -t missing < <(missing_packages)
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" -eq 0 ] || die "these Debian packages are missing, and only root may install them: ${missing[*]}"
    say "installing Debian packages: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    apt-get install -q -y --no-install-recommends "${missing[@]}"
}

requirements() {
    "$PYTHON" -I - <<'PY'
import tomllib
with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)
print(*project["project"]["dependencies"], *project["dependency-groups"]["dev"], sep="\n")
PY
}

make_venv() {
    say "making $VENV"
    rm -f "$STAMP"
    # An interpreter of another version (after a Debian upgrade) cannot use the old environment.
    if [ -x $VENV/bin/python ] && [ "$($VENV/bin/python -V 2>/dev/null)" != "$($PYTHON -V)" ]; then rm -rf "$VENV"; fi
    [ -x $VENV/bin/pip ] || "$PYTHON" -m venv "$VENV"
    requirements > build/requirements.txt
    # --use-pep517: an sdist is built the same way by the pip of Debian 12 and by that of Debian 13. -qq: errors only.
    "$VENV/bin/pip" install --disable-pip-version-check -qq --use-pep517 -r build/requirements.txt -c "$LOCK"
}

make_collection() {
    [ "$(cat $COLLECTIONS/.version 2>/dev/null)" = $ANSIBLE ] && return 0
    say "unpacking oVirt's Ansible collection into $COLLECTIONS"
    rm -rf $COLLECTIONS
    mkdir -p $COLLECTIONS
    "$VENV/bin/pip" download --disable-pip-version-check -qq --no-deps --only-binary :all: -d $COLLECTIONS ansible==$ANSIBLE
    "$PYTHON" -I - $COLLECTIONS <<'PY'
import pathlib, sys, zipfile
folder = pathlib.Path(sys.argv[1])
(bundle,) = folder.glob("ansible-*.whl")
with zipfile.ZipFile(bundle) as wheel:
    wheel.extractall(folder, [name for name in wheel.namelist() if name.startswith("ansible_collections/ovirt/ovirt/")])
bundle.unlink()
PY
    echo $ANSIBLE > $COLLECTIONS/.version
}

# The daemon of image transfers, for tests that really transfer: in an environment of its own, as on a node.
make_imageio() {
    local wanted
    wanted=$("$PYTHON" -I -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["imageio"])')
    if [ -x build/imageio/bin/python ] && [ "$(build/imageio/bin/python -V 2>/dev/null)" != "$($PYTHON -V)" ]; then
        rm -rf build/imageio
    fi
    [ -x build/imageio/bin/python ] || "$PYTHON" -m venv build/imageio
    # shellcheck disable=SC2086 -- a list of requirements
    build/imageio/bin/python -m pip install --disable-pip-version-check -qq --use-pep517 --no-deps $wanted
}

lock_versions() {
    say "resolving the newest allowed versions into $LOCK"
    requirements > build/requirements.txt
    "$VENV/bin/pip" install --disable-pip-version-check -qq --use-pep517 --upgrade --upgrade-strategy eager -r build/requirements.txt
    local head
    head=$(grep '^#' "$LOCK")
    { echo "$head"; "$VENV/bin/pip" freeze -qq | LC_ALL=C sort -f; } > "$LOCK.new"
    mv "$LOCK.new" "$LOCK"
}

case ${1:-} in
    "" | --again | --lock) ;;
    *) die "usage: image/dev.sh [--again | --lock]" ;;
esac
[ -f /etc/debian_version ] || die "this is not Debian; Trivet is built on Debian 12 or 13"
if [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$(fingerprint)" ] && [ -z "${1:-}" ]; then
    exit 0
fi
mkdir -p build
exec 9> build/dev.lock
flock 9   # two at once would install into one environment
install_packages
make_venv
make_collection
make_imageio
[ "${1:-}" != --lock ] || lock_versions
fingerprint > "$STAMP"
say "done: $VENV"
