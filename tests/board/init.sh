#!/bin/sh
# The first program on the emulated board's disk: what systemd does on a real one, as far as the
# agent sees it. What it is told is on the kernel's command line; "stop" on the console ends it.
export PATH=/usr/bin:/bin

said() {
    tr ' ' '\n' </proc/cmdline | sed -n "s/^daywise.$1=//p"
}

ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route add default via 10.0.2.2
mount -t tmpfs none /run
mount -t tmpfs none /tmp
mkdir -p /run/systemd/timesync

# StateDirectory=, MemoryMax= and User= of the unit.
mkdir -p /var/lib/daywise
chown -R daywise:daywise /var/lib/daywise
chmod 0750 /var/lib/daywise
mount -t cgroup2 none /sys/fs/cgroup
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
mkdir -p /sys/fs/cgroup/agent
echo "$(said memory_max_mb)M" >/sys/fs/cgroup/agent/memory.max
sed "s|BROKER|$(said broker)|" /etc/daywise/board.toml >/etc/daywise/agent.toml

echo "board: booted, the clock says $(date -u +%Y-%m-%dT%H:%M:%S)"
sh -c 'echo $$ >/sys/fs/cgroup/agent/cgroup.procs
exec start-stop-daemon -S -c daywise:daywise -x /usr/bin/daywise-agent -- \
    run --config /etc/daywise/agent.toml' &
starter=$!

# The network tells the time a while after the agent has started.
(
    sleep "$(said clock_after_s)"
    read -r uptime _ </proc/uptime
    date -u -s "@$(($(said epoch_s) + ${uptime%.*}))" >/dev/null
    touch /run/systemd/timesync/synchronized
    echo "board: the clock is set to $(date -u +%Y-%m-%dT%H:%M:%S)"
) &

while read -r line; do
    [ "$line" = stop ] && break
done
pid=$(pidof daywise-agent)
echo "board: peak_kb=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status")"
echo "board: $(tr '\n' ' ' </sys/fs/cgroup/agent/memory.events)"
kill -TERM "$pid"
wait "$starter"
echo "board: the agent ended with $?"
daywise-agent inspect samples --config /etc/daywise/agent.toml >/samples.jsonl
sync
echo "board: stopped"
mount -o remount,ro /
poweroff -f
