# ext4 on /dev/nbd0, whose server records it. $port, $name: the export; $options: of mount; $files: how many files are
# written, each made stable.
set -e
. /job/network
attach "$port" "$name"
mkfs.ext4 -q -F -b 1024 /dev/nbd0
sync
detach
attach "$port" "$name"
mount -t ext4 -o "$options" /dev/nbd0 /mnt
number=1
while [ $number -le "$files" ]; do
    mkdir -p /mnt/folder$((number % 3))
    dd if=/dev/urandom of=/mnt/folder$((number % 3))/file$number bs=10k count=3 conv=fsync 2> /dev/null
    [ $number -lt 4 ] || rm /mnt/folder$(((number - 3) % 3))/file$((number - 3))
    number=$((number + 1))
done
sync
umount /mnt
detach
echo recorded
