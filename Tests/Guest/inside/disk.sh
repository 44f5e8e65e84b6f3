# What the first disk is, and that it keeps what is written to it.
set -e
hdparm -I /dev/sda > /results/hdparm
cat /sys/block/sda/size > /results/size
dd if=/dev/urandom of=/tmp/sectors bs=512 count=64 2>/dev/null
dd if=/tmp/sectors of=/dev/sda seek=1000 conv=fsync 2>/dev/null
echo 3 > /proc/sys/vm/drop_caches
dd if=/dev/sda skip=1000 count=64 2>/dev/null | cmp - /tmp/sectors
