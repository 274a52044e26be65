"""What the pyinfra jobs share: the values of sysctls.yml."""

REQUIRED = {
    "net.core.somaxconn": 65535,
    "net.ipv4.tcp_tw_reuse": 1,
    "net.ipv4.ip_local_port_range": [2048, 65535],
    "net.ipv4.tcp_max_tw_buckets": 1440000,
}
NETWORK = {
    "net.ipv4.tcp_wmem": [4096, 16384, 134217728],
    "net.ipv4.tcp_rmem": [4096, 262144, 134217728],
    "net.ipv4.tcp_adv_win_scale": 1,
    "net.ipv4.tcp_mtu_probing": 2,
    "net.ipv4.tcp_slow_start_after_idle": 0,
    "net.ipv4.tcp_max_syn_backlog": 100000,
    "net.ipv4.tcp_rfc1337": 1,
    "net.ipv4.ip_forward": 1,
    "net.ipv4.tcp_timestamps": 1,
    "net.ipv4.tcp_sack": 1,
    "net.ipv4.tcp_window_scaling": 1,
    "net.ipv4.tcp_fin_timeout": 30,
    "net.ipv4.tcp_keepalive_time": 600,
    "net.ipv4.tcp_no_metrics_save": 1,
    "net.ipv4.tcp_syn_retries": 4,
}


def tune(values):
    from pyinfra.operations import files, server

    for kind in ("soft", "hard"):
        files.line(
            name=f"Open files, {kind}",
            path="/etc/security/limits.d/99-bench.conf",
            line=f"* {kind} nofile 1048576",
        )
    for key, value in values.items():
        server.sysctl(
            name=key,
            key=key,
            value=value,
            persist=True,
            persist_file="/etc/sysctl.d/99-bench.conf",
        )
