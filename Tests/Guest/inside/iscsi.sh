# A disk over iSCSI as tools see it, and the life of a file system on it.
set -e
. /job/iscsi-login
iscsi_login
hdparm -I /dev/sda > /results/hdparm
hdparm --Istdout /dev/sda | sed 1,2d > /results/words
for setting in -W -W0 -W -W1 -W; do
    hdparm $setting /dev/sda 2>&1
done > /results/cache
sg_inq /dev/sda > /results/inquiry
smartctl -d sat -H /dev/sda > /results/smartctl || :
skdump /dev/sda > /results/skdump
bash /usr/bin/scsi_satl /dev/sda > /results/satl
mkfs.ext4 -q -F /dev/sda
mount -t ext4 -o discard /dev/sda /mnt
tar -c -C / lib usr | tar -x -C /mnt
rm -r /mnt/usr/share
sync -f /mnt
(cd /mnt && find . -type f -exec sha256sum {} +) > /tmp/sums
umount /mnt
echo 3 > /proc/sys/vm/drop_caches
fsck.ext4 -f -n /dev/sda
mount -t ext4 -o ro /dev/sda /mnt
(cd /mnt && sha256sum -c --quiet /tmp/sums)
find /mnt -type f | wc -l > /results/files
umount /mnt
