#!/bin/sh
# What happens on the emulated board beside its agent, which systemd runs by the package's own unit.
# What it is told is on the kernel's command line.

said() {
    tr ' ' '\n' </proc/cmdline | sed -n "s/^daywise.$1=//p"
}

# Before the agent: its owner's config, its network, its clock.
begin() {
    ip addr add 10.0.2.15/24 dev eth0
    ip link set eth0 up
    ip route add default via 10.0.2.2
    sed "s|BROKER|$(said broker)|" /etc/daywise/board.toml >/etc/daywise/agent.toml
    # Systemd has set it to when it was built. A board without a battery begins anywhere.
    date -u -s 2000-01-01 >/dev/null
    echo "board: booted, the clock says $(date -u +%Y-%m-%dT%H:%M:%S)"
}

# The network tells the time, in seconds since 1970.
set_the_clock() {
    date -u -s "@$1" >/dev/null
    mkdir -p /run/systemd/timesync
    touch /run/systemd/timesync/synchronized
    echo "board: the clock is set to $(date -u +%Y-%m-%dT%H:%M:%S)"
}

# On the console "time" sets the clock, and "stop" ends the agent, lists its readings, and switches
# the board off.
go_on() {
    echo "board: listens"
    while read -r line argument; do
        case "$line" in
        time) set_the_clock "$argument" ;;
        stop) break ;;
        esac
    done
    agent=daywise-agent.service
    pid=$(systemctl show --value -p MainPID "$agent")
    echo "board: peak_kb=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status")"
    echo "board: $(tr '\n' ' ' <"/sys/fs/cgroup/system.slice/$agent/memory.events")"
    echo "board: $(systemctl show -p MemoryMax -p User -p WatchdogUSec "$agent" | tr '\n' ' ')"
    systemctl stop "$agent"
    echo "board: $(systemctl show -p NRestarts -p Result -p ExecMainStatus "$agent" | tr '\n' ' ')"
    daywise-agent inspect samples --config /etc/daywise/agent.toml >/samples.jsonl
    sync
    echo "board: stopped"
    systemctl poweroff -ff
}

case "$1" in
begin) begin ;;
go-on) go_on ;;
esac
