# Linux's initiator with its daemon: two sessions to one target below a multipath device, on which a file system lives
# while the drive grows, the target is killed and started again, and one of the paths goes. Both sides prove
# who they are: $user with $password, the target as $user_in with $password_in. $target, $port, $records.
set -e
. /job/iscsi-daemon
discover() { iscsiadm -m discovery -t sendtargets -p "10.0.2.2:$port" > /results/found 2> /tmp/discovery; }
sessions() { [ "$(iscsiadm -m session 2> /dev/null | grep -c .)" = "$1" ]; }

until_true discover
# The host is 127.0.0.1 to itself, and something else here.
iscsiadm -m node -o new -T "$target" -p "10.0.2.2:$port" > /dev/null
set_auth() { iscsiadm -m node -T "$target" -p "10.0.2.2:$port" -o update -n "node.session.auth.$1" -v "$2"; }
set_auth authmethod CHAP
set_auth username "$user"
set_auth password "$password"
set_auth username_in "$user_in"
# A target that does not know its secret is none of ours.
set_auth password_in another-secret-3
iscsiadm -m node -T "$target" -p "10.0.2.2:$port" --login > /dev/null 2>&1 || echo $? > /results/impostor
set_auth password_in "$password_in"
iscsiadm -m node -T "$target" -p "10.0.2.2:$port" --login > /dev/null
until_true [ -e /dev/sda ]
first=$(iscsiadm -m session | sed 's/.*\[\([0-9]*\)\].*/\1/')
iscsiadm -m session -r "$first" --op new > /dev/null
until_true [ -e /dev/sdb ]
until_true sessions 2

echo "logged in"
size=$(blockdev --getsize64 /dev/sda)
has_grown() {
    iscsiadm -m session --rescan > /dev/null
    [ "$(blockdev --getsize64 /dev/sda)" != "$size" ] && [ "$(blockdev --getsize64 /dev/sdb)" != "$size" ]
}
until_true has_grown
blockdev --getsize64 /dev/sda > /results/size

paths="1 1 round-robin 0 2 1 $(cat /sys/block/sda/dev) 1 $(cat /sys/block/sdb/dev) 1"
echo "0 $(blockdev --getsz /dev/sda) multipath 1 queue_if_no_path 0 $paths" | dmsetup create paths
dmsetup mknodes
mkfs.ext4 -q -F /dev/mapper/paths
mount -t ext4 /dev/mapper/paths /mnt
write() {
    dd if=/dev/urandom of="/mnt/$1" bs=64k count=4 conv=fsync 2> /dev/null
    sha256sum "/mnt/$1" >> /tmp/sums
    echo "record $1"
}
number=0
while [ $number -lt "$records" ]; do
    number=$((number + 1))
    write $number
done
until_true sessions 2
iscsiadm -m session -r "$first" --logout > /dev/null
until_true sessions 1
write last
dmsetup status paths > /results/paths
umount /mnt
echo 3 > /proc/sys/vm/drop_caches
fsck.ext4 -f -n /dev/mapper/paths
mount -t ext4 -o ro /dev/mapper/paths /mnt
sha256sum -c --quiet /tmp/sums
wc -l < /tmp/sums > /results/files
umount /mnt
dmsetup remove paths
iscsiadm -m node -T "$target" -p "10.0.2.2:$port" --logout > /dev/null
