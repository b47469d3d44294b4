#!/bin/bash
# Copy the programs below DESTDIR, as they are on a node and in the engine VM: image/install.sh DESTDIR
#
#   /usr/lib/trivet/app       the six packages and the launcher
#   /usr/bin/trivet           symlink to the launcher
#   /usr/lib/systemd/system   the units of all packages, none of them enabled: which of them run is the image's decision
#
# Needs neither the virtual environment nor network. The paths are those of appliance/layout.py (a test compares them).
# The virtual environment (/usr/lib/trivet/venv) is not made here: it belongs to the interpreter of the image.
set -euo pipefail

APP=/usr/lib/trivet/app
UNITS=/usr/lib/systemd/system
PACKAGES=(appliance gluster ha_broker engine image installer)

refuse() { printf '%s\n  what helps: %s\n  code: %s\n' "$1" "$2" "$3" >&2; exit 2; }

[ $# -eq 1 ] && [ -n "$1" ] || refuse 'install: DESTDIR is missing' \
    'Name the root of the tree to install into: make install DESTDIR=/some/root' install.no-destdir
[ -d "$1" ] || refuse "install: $1: this folder does not exist" 'Make it first.' install.no-destdir
destdir=$(cd "$1" && pwd)
[ "$destdir" != / ] || refuse 'install: DESTDIR is this machine itself' \
    'Trivet runs on its own images; install into a tree of one.' install.own-root
cd "$(dirname "$0")/.."

install -d -m 755 "$destdir$APP" "$destdir/usr/bin" "$destdir$UNITS"
for package in "${PACKAGES[@]}"; do
    rm -rf "${destdir:?}$APP/$package"   # a module that is gone here must not live on there
done
tar -c --exclude=__pycache__ --exclude='*.pyc' --sort=name --owner=0 --group=0 --numeric-owner "${PACKAGES[@]}" trivet LICENSE \
    | tar -x -C "$destdir$APP" --no-same-owner
ln -sfn ../lib/trivet/app/trivet "$destdir/usr/bin/trivet"
# Units, and drop-ins for units of others (NAME.service.d/*.conf).
for package in "${PACKAGES[@]}"; do
    [ -d "$package/units" ] || continue
    (cd "$package/units" && find . -type f \( -name '*.service' -o -name '*.socket' -o -name '*.timer' -o -name '*.target' \
        -o -name '*.path' -o -name '*.slice' -o -name '*.mount' -o -path './*.d/*.conf' \) -print0) \
        | while IFS= read -r -d '' unit; do install -D -m 644 "$package/units/$unit" "$destdir$UNITS/$unit"; done
done
