# Lets every tool say what it sees of every disk: a folder a disk, named after its SCSI address, a file a report.
set -u
export LC_ALL=C
dmesg | sed 's/^\[ *[0-9.]*\] //' > log
lshw -quiet -class disk > lshw
for disk in /sys/block/sd*; do
    device=/dev/${disk##*/}
    address=$(readlink "$disk/device")
    folder=/results/${address##*/}
    mkdir "$folder"
    cd "$folder"
    echo "${disk##*/}" > name
    basename "$disk"/device/scsi_generic/* > generic
    hdparm --Istdout "$device" | sed 1,2d > words
    hdparm -I "$device" > hdparm
    smartctl -i "$device" > smartctl
    sg_inq "$device" > inquiry
    sg_readcap "$device" > readcap10
    sg_readcap --16 "$device" > readcap16
    sg_readcap --raw "$device" > readcap10.bytes
    sg_readcap --16 --raw "$device" > readcap16.bytes
    sg_modes -a "$device" > mode
    sg_modes -r "$device" > mode.bytes
    sg_modes -c 1 -r "$device" > changeable.bytes
    sg_vpd -p 0 --raw "$device" > pages
    # Page B9h is in the list that Linux 6.1 gives, and yet refused.
    for page in $(od -An -v -tx1 -j4 pages | sed 's/b9//'); do
        sg_vpd -p "0x$page" "$device" > "vpd-$page"
        sg_vpd -p "0x$page" --raw "$device" > "vpd-$page.bytes"
    done
done 2> /results/errors
exit 0
