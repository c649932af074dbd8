#!/bin/sh
# Installs the agent from its tarball on a system without Debian packages; again to update.
# `install.sh --uninstall` takes it away and leaves config and state.
# DESTDIR=/some/root puts the files there and does nothing else.
set -eu
cd "$(dirname "$0")"
root="${DESTDIR:-}"
unit=/etc/systemd/system/daywise-agent.service

if [ -z "$root" ] && [ "$(id -u)" != 0 ]; then
    echo "install.sh: run it as root" >&2
    exit 1
fi

systemd() {
    if [ -z "$root" ] && [ -d /run/systemd/system ]; then systemctl "$@"; fi
}

if [ "${1:-}" = --uninstall ]; then
    systemd disable --now daywise-agent.service || true
    rm -f "$root/usr/local/bin/daywise-agent" "$root$unit"
    systemd daemon-reload
    echo "left in place: /etc/daywise and /var/lib/daywise"
    exit 0
fi

# Beside the old one and then over it: a running agent's file cannot be written to.
mkdir -p "$root/usr/local/bin" "$root/etc/systemd/system" "$root/etc/daywise"
cp daywise-agent "$root/usr/local/bin/.daywise-agent.new"
chmod 0755 "$root/usr/local/bin/.daywise-agent.new"
mv "$root/usr/local/bin/.daywise-agent.new" "$root/usr/local/bin/daywise-agent"
sed 's|/usr/bin/daywise-agent|/usr/local/bin/daywise-agent|' daywise-agent.service >"$root$unit"
for part in man/*.1; do
    mkdir -p "$root/usr/local/share/man/man1"
    cp "$part" "$root/usr/local/share/man/man1/"
done
if [ -e "$root/etc/daywise/agent.toml" ]; then
    echo "kept: /etc/daywise/agent.toml"
else
    cp agent.toml "$root/etc/daywise/agent.toml"
fi
if [ -n "$root" ]; then
    exit 0
fi

if ! grep -q '^daywise:' /etc/passwd; then
    useradd --system --user-group --home-dir /var/lib/daywise --no-create-home \
        --shell /usr/sbin/nologin daywise 2>/dev/null ||
        adduser -S -D -H -h /var/lib/daywise daywise
fi
mkdir -p /var/lib/daywise
chown daywise /var/lib/daywise
chmod 0750 /var/lib/daywise
systemd daemon-reload
systemd enable daywise-agent.service
systemd restart daywise-agent.service
echo "installed: edit /etc/daywise/agent.toml, then: systemctl restart daywise-agent"
