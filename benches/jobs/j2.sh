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
sysctl_is net.ipv4.tcp_wmem "4096 16384 134217728"
sysctl_is net.ipv4.tcp_rmem "4096 262144 134217728"
sysctl_is net.ipv4.tcp_adv_win_scale "1"
sysctl_is net.ipv4.tcp_mtu_probing "2"
sysctl_is net.ipv4.tcp_slow_start_after_idle "0"
sysctl_is net.ipv4.tcp_max_syn_backlog "100000"
sysctl_is net.ipv4.tcp_rfc1337 "1"
sysctl_is net.ipv4.ip_forward "1"
sysctl_is net.ipv4.tcp_timestamps "1"
sysctl_is net.ipv4.tcp_sack "1"
sysctl_is net.ipv4.tcp_window_scaling "1"
sysctl_is net.ipv4.tcp_fin_timeout "30"
sysctl_is net.ipv4.tcp_keepalive_time "600"
sysctl_is net.ipv4.tcp_no_metrics_save "1"
sysctl_is net.ipv4.tcp_syn_retries "4"
