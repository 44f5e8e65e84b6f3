# Four DVD-ROMs as Linux and tools see them: sr0 is QEMU's own drive, with a disc that the host serves; sr1, sr2 and sr3
# are units of the targets $target, $full and $large on the host.
set -e
. /job/network
dmesg | sed 's/^\[[^]]*\] //' > /results/dmesg
# log_in TARGET DEVICE: logs in, and waits for the device.
log_in() {
    iscsistart -i iqn.2026-11.org.example:guest -t "$1" -g 1 -a 10.0.2.2 -p "$port"
    tries=0
    while [ ! -e "$2" ] && [ $tries -lt 400 ]; do
        usleep 50000
        tries=$((tries + 1))
    done
    [ -e "$2" ]
}
# generic DISC: its SCSI generic device.
generic() { echo "/dev/$(ls "/sys/class/block/$1/device/scsi_generic")"; }
# try NAME COMMAND...: what it prints becomes a result, and so does its failure.
try() {
    name=$1
    shift
    "$@" > "/results/$name" 2>&1 || echo "$name: $*" >> /results/failed
}
: > /results/failed
log_in "$target" /dev/sr1
log_in "$full" /dev/sr2
log_in "$large" /dev/sr3
dmesg | sed 's/^\[[^]]*\] //' | grep 'sr[0-9 ]' > /results/dmesg-later
try lsscsi lsscsi
try lshw lshw -quiet -class disk
for disc in sr0 sr1 sr2; do
    for system in iso9660 udf; do
        mount -t $system -o ro "/dev/$disc" /mnt
        sha256sum < /mnt/payload.bin > "/results/payload-$disc-$system"
        umount /mnt
    done
    sg=$(generic $disc)
    try "inq-$disc" sg_inq "$sg"
    try "config-$disc" sg_get_config "$sg"
    try "isoinfo-$disc" isoinfo -d -i "/dev/$disc"
    try "prcap-$disc" wodim "dev=$sg" -prcap
    try "toc-$disc" wodim "dev=$sg" -toc
    try "cd-info-$disc" cd-info --no-device-info --no-cddb "/dev/$disc"
done
for disc in sr1 sr2; do
    try "opcodes-$disc" sg_opcodes "$(generic $disc)"
    try "luns-$disc" sg_luns "$(generic $disc)"
done
try config-sr3 sg_get_config "$(generic sr3)"
try modes-sr2 sg_modes -a "$(generic sr2)"
try cd-drive-sr2 cd-drive -i /dev/sr2
# The guest keeps the disc, and hears by GET EVENT STATUS NOTIFICATION that its host wants it.
sg=$(generic sr1)
eject -i on /dev/sr1
echo locked
tries=0
until sg_raw -r 8 "$sg" 4a 01 00 00 10 00 00 00 08 00 2>&1 | grep -q ' 10 01 02 00 00'; do
    usleep 100000
    tries=$((tries + 1))
    [ $tries -lt 600 ]
done
eject -i off /dev/sr1
eject /dev/sr1
sg_turs -v "$sg" > /results/open 2>&1 || :
echo ejected
# Another disc comes.
tries=0
until sg_turs "$sg" > /dev/null 2>&1; do
    usleep 100000
    tries=$((tries + 1))
    [ $tries -lt 600 ]
done
mount -t iso9660 -o ro /dev/sr1 /mnt
sha256sum < /mnt/payload.bin > /results/payload-other
umount /mnt
