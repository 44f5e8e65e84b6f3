# A drive grows under a mounted file system: /dev/nbd0, $options: nbd-client's. Over a second connection, /dev/nbd1, the
# guest sees what others do. $port, $name: the export.
set -e
. /job/network

# What a client is told that connects now.
size_now() {
    nbd-client 10.0.2.2 "$port" /dev/nbd1 -N "$name" > /dev/null
    blockdev --getsize64 /dev/nbd1
    nbd-client -d /dev/nbd1 > /dev/null
    waits=0
    while [ -e /sys/block/nbd1/pid ]; do
        waits=$((waits + 1))
        [ $waits -lt 500 ]
        usleep 20000
    done
}

attach "$port" "$name" $options
size=$(blockdev --getsize64 /dev/nbd0)
[ "$(size_now)" = "$size" ]
mkfs.ext4 -q -F /dev/nbd0
mount -t ext4 /dev/nbd0 /mnt
echo mounted
new=$size
tries=0
while [ "$new" = "$size" ]; do
    tries=$((tries + 1))
    [ $tries -lt 200 ]
    new=$(size_now)
done

# The device knows nothing of it until it is told.
[ "$(blockdev --getsize64 /dev/nbd0)" = "$size" ]
/job/nbd-resize /dev/nbd0 "$new"
[ "$(blockdev --getsize64 /dev/nbd0)" = "$new" ]
resize2fs /dev/nbd0
# More than there was room for.
dd if=/dev/urandom of=/mnt/random bs=1M count=$((size / 1048576 + 8)) conv=fsync 2> /dev/null
sha256sum /mnt/random > /tmp/sum
umount /mnt
fsck.ext4 -f -n /dev/nbd0
detach

attach "$port" "$name" $options
[ "$(blockdev --getsize64 /dev/nbd0)" = "$new" ]
mount -t ext4 -o ro /dev/nbd0 /mnt
sha256sum -c /tmp/sum
umount /mnt
detach
echo "$new" > /results/size
