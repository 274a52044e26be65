from pyinfra.operations import server

OPTIONS = "noatime,nodiratime,logbufs=8,logbsize=256k,largeio,inode64,swalloc,allocsize=131072k,nofail"

for disk in ("sda", "sdb", "sdc", "sdd"):
    server.shell(
        name=f"Data filesystem {disk}",
        commands=[
            f"blkid /dev/{disk} >/dev/null || mkfs.xfs -q /dev/{disk}",
            f"grep -q ' /ais/{disk} ' /etc/fstab || "
            f"echo UUID=$(blkid -s UUID -o value /dev/{disk}) /ais/{disk} xfs {OPTIONS} 0 0 >>/etc/fstab",
            f"mountpoint -q /ais/{disk} || {{ mkdir -p /ais/{disk} && mount /ais/{disk}; }}",
        ],
    )
