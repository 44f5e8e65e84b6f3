# Two images, one on a disk that is suspended while clients read and write it: the other one is served, also to new clients,
# and when the disk goes on, all is as if nothing had been.
set -e
dmsetup create disk --noudevrules --noudevsync --table "0 $(blockdev --getsz /dev/vda) linear /dev/vda 0"
mkfs.ext4 -q /dev/dm-0
mount -t ext4 /dev/dm-0 /mnt
dd if=/dev/urandom of=/mnt/image bs=1M count=16 2> /dev/null
dd if=/dev/urandom of=/tmp/other bs=1M count=4 2> /dev/null
dd if=/dev/urandom of=/tmp/data bs=1M count=4 2> /dev/null
cp /mnt/image /tmp/before
truncate -s 16M /mnt/written
sync
echo 3 > /proc/sys/vm/drop_caches

spindle serve --threads 1 --control unix:/tmp/control --listen unix:/tmp/socket \
    stuck=/mnt/image written=/mnt/written other=/tmp/other > /tmp/said 2>&1 &
server=$!
until grep -qs '^serving' /tmp/said; do kill -0 $server; done
uri() { echo "nbd+unix:///$1?socket=/tmp/socket"; }
in_flight() { spindle ctl --control unix:/tmp/control metrics | sed -n "s/^spindle_requests_in_flight{export=\"$1\"} //p"; }

dmsetup suspend --nolockfs --noflush --noudevsync disk
nbdcopy "$(uri stuck)" /tmp/after &
reader=$!
nbdcopy --flush /tmp/before "$(uri written)" &
writer=$!
for export in stuck written; do until [ "$(in_flight $export)" -gt 0 ]; do kill -0 $server $reader $writer; done; done
for round in 1 2 3 4 5; do
    nbdcopy --flush /tmp/data "$(uri other)"
    nbdcopy "$(uri other)" /tmp/back
    cmp /tmp/data /tmp/back
    echo "round $round" >> /results/rounds
done
kill -0 $server $reader $writer
dmsetup resume --noudevsync disk
wait $reader
wait $writer
cmp /tmp/before /tmp/after
kill $server
wait $server
cmp /tmp/before /mnt/written
umount /mnt
dmsetup remove --noudevsync disk
