set -eu
options=noatime,nodiratime,logbufs=8,logbsize=256k,largeio,inode64,swalloc,allocsize=131072k,nofail
for disk in sda sdb sdc sdd; do
    blkid "/dev/$disk" >/dev/null || mkfs.xfs -q "/dev/$disk" &
done
wait
for disk in sda sdb sdc sdd; do
    grep -q " /ais/$disk " /etc/fstab ||
        echo "UUID=$(blkid -s UUID -o value "/dev/$disk") /ais/$disk xfs $options 0 0" >>/etc/fstab
    mountpoint -q "/ais/$disk" || { mkdir -p "/ais/$disk" && mount "/ais/$disk"; }
done
