mkdir -p /etc/kubernetes /etc/systemd/system /var/kubelet
cat >/etc/systemd/system/kubelet.service <<'END'
[Service]
EnvironmentFile=-/etc/kubernetes/kubelet.env
ExecStart=/usr/local/bin/kubelet $KUBE_LOG_LEVEL $KUBELET_ARGS
END
printf 'KUBE_LOG_LEVEL="--v=2"\nKUBELET_ARGS="--config=/etc/kubernetes/kubelet-config.yaml \\\n "\n' >/etc/kubernetes/kubelet.env
printf 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n# by hand\nmaxPods: 110\n' >/etc/kubernetes/kubelet-config.yaml
chmod 600 /etc/kubernetes/*
cd /var/kubelet
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=kubelet -days 2 -keyout key -out cert 2>/dev/null
cat >/usr/local/bin/systemctl <<'END'
#!/bin/bash
cd /var/kubelet
alive() { kill -0 "$(cat pid 2>/dev/null || echo 999999999)" 2>/dev/null; }
case " $* " in
*" show "*)
    # Where a test wants to hear of the second question for the process, it is told before the answer.
    if [ -e tell ] && [[ $* == *NRestarts* ]]; then
        echo asked >>told
        if [ "$(wc -l <told)" = 2 ]; then (exec 3<>"/dev/tcp/$(cat tell)" && read -r -u 3); fi
    fi
    if alive; then state=active sub=running; else state=failed sub=failed; fi
    printf 'Type=simple\nLoadState=loaded\nActiveState=%s\nSubState=%s\nUnitFileState=enabled\nNeedDaemonReload=no\nMainPID=%s\n' \
        $state $sub "$(cat pid)"
    ;;
*" restart "* | *" start "*)
    if alive; then kill "$(cat pid)"; fi
    echo restart >>log
    list=
    if grep -q 'net\.\*' /etc/kubernetes/kubelet-config.yaml; then
        list='"net.*"'
        [ ! -e breaks ] || { rm -f pid; exit 0; }
    fi
    health=ok
    if [ -n "$list" ] && [ -e sick ]; then health=sick; fi
    printf 'HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n%s' $health >healthz
    printf 'HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{"kubeletconfig":{"allowedUnsafeSysctls":[%s]}}' "$list" >configz
    sleep 0.2
    setsid openssl s_server -accept 10250 -cert cert -key key -HTTP -quiet </dev/null >server.log 2>&1 &
    echo $! >pid
    # It ends a moment later, and systemd starts it again; and so on.
    if [ -n "$list" ] && [ -e flaps ]; then (sleep 1.5; systemctl restart kubelet) >/dev/null 2>&1 </dev/null & fi
    ;;
esac
END
chmod +x /usr/local/bin/systemctl
/usr/local/bin/systemctl restart kubelet
