set -eu
line() { # FILE LINE
    grep -qxF -- "$2" "$1" 2>/dev/null || printf '%s\n' "$2" >>"$1"
}
sysctl_is() { # KEY VALUE
    line /etc/sysctl.d/99-bench.conf "$1 = $2"
    [ "$(tr -s '\t' ' ' <"/proc/sys/$(echo "$1" | tr . /)")" = "$2" ] || sysctl -qw "$1=$2"
}
line /etc/security/limits.d/99-bench.conf '* soft nofile 1048576'
line /etc/security/limits.d/99-bench.conf '* hard nofile 1048576'
sysctl_is net.core.somaxconn "65535"
sysctl_is net.ipv4.tcp_tw_reuse "1"
sysctl_is net.ipv4.ip_local_port_range "2048 65535"
sysctl_is net.ipv4.tcp_max_tw_buckets "1440000"
