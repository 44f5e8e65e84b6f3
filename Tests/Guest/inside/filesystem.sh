# A file system's life on /dev/nbd0: made, mounted, filled, synchronised, unmounted, checked, read again over a new
# connection. $port, $name, $options: the export and nbd-client's options. $kind: ext4 or xfs.
set -e
. /job/network
check() {
    case $kind in
    ext4) fsck.ext4 -f -n /dev/nbd0 ;;
    xfs) xfs_repair -n /dev/nbd0 ;;
    esac
}

attach "$port" "$name" $options
grep -c "$(printf '0202000A:%04X 01' "$port")" /proc/net/tcp > /results/connections
case $kind in
ext4) mkfs.ext4 -q -F /dev/nbd0 ;;
xfs) mkfs.xfs -q -f /dev/nbd0 ;;
esac
mount -t "$kind" /dev/nbd0 /mnt
# The tree: the guest's own programs, libraries and modules, 35 MB in some 400 files.
tar -c -C / lib usr | tar -x -C /mnt
dd if=/dev/urandom of=/mnt/random bs=64k count=64 conv=fsync 2>/dev/null
rm -r /mnt/usr/share
sync -f /mnt
(cd /mnt && find . -type f -exec sha256sum {} +) > /tmp/sums
echo "$(wc -l < /tmp/sums) files"
umount /mnt
check
detach

attach "$port" "$name" $options
echo 3 > /proc/sys/vm/drop_caches
check
mount -t "$kind" -o ro /dev/nbd0 /mnt
(cd /mnt && sha256sum -c --quiet /tmp/sums)
find /mnt -type f | wc -l > /results/files
umount /mnt
detach
